package redis

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

const (
	// shareRate is how many commands a second tell others of entities, and shareBurst
	// how many at once: it keeps what an attacker invents off Redis.
	shareRate, shareBurst = 500, 2000
	// Shelves hold so many entities and bytes, and remember so many that were shared.
	maxWaiting, maxWaitingBytes, maxGiven = 1 << 16, 32 << 20, 1 << 20
)

// private are the kinds of records that others are not told of: too little is known of
// these entities, and there are too many of them.
var private = [256]bool{state.KindPair: true}

// shelf holds what other sensors have not been told yet. What finds no room is told when
// the entity changes again.
type shelf struct {
	every   time.Duration
	seed    maphash.Seed
	given   map[uint64]given // by hash of the key: told in this generation
	waiting map[string]waiting
	order   []string // of waiting, the oldest first; also what is gone since
	bytes   int
	tokens  float64
	at      time.Time
	missed  uint64
}

type given struct {
	at     int64 // Unix seconds
	period uint64
}

type waiting struct {
	value []byte
	epoch uint64
}

func newShelf(every time.Duration) shelf {
	return shelf{every: every, seed: maphash.MakeSeed(), given: map[uint64]given{}, waiting: map[string]waiting{}, tokens: shareBurst}
}

// renew forgets what was told in the last generation.
func (s *shelf) renew() { s.given = map[uint64]given{} }

// put takes what an epoch changed.
func (s *shelf) put(c *state.Checkpoint) {
	for _, r := range c.Changed[state.Entities] {
		if len(r.Key) == 0 || private[r.Key[0]] {
			continue
		}
		old, known := s.waiting[string(r.Key)]
		switch {
		case len(r.Value) == 0 && !known && s.given[maphash.Bytes(s.seed, r.Key)] == given{}:
			continue // nobody was told
		case !known && (len(s.waiting) >= maxWaiting || s.bytes+len(r.Value) > maxWaitingBytes):
			s.missed++
			continue
		case !known:
			s.order = append(s.order, string(r.Key))
		}
		s.waiting[string(r.Key)] = waiting{r.Value, c.Epoch}
		s.bytes += len(r.Value) - len(old.value)
	}
}

// take returns the keys that are due, with their values, the oldest first, as far as
// there are tokens; or all.
func (s *shelf) take(now time.Time, all bool) []string {
	if !s.at.IsZero() {
		s.tokens = min(s.tokens+now.Sub(s.at).Seconds()*shareRate, shareBurst)
	}
	s.at = now
	if len(s.given) > maxGiven {
		s.renew()
	}
	var due, later []string
	for i, k := range s.order {
		if !all && s.tokens < 1 {
			later = append(later, s.order[i:]...)
			break
		}
		g, told := s.given[maphash.String(s.seed, k)]
		if told && !all && now.Unix()-g.at < int64(s.every/time.Second) {
			later = append(later, k)
			continue
		}
		s.tokens--
		if !told {
			s.tokens -= 2 // its TTL, and what earlier generations left
		}
		due = append(due, k)
	}
	s.order = later
	return due
}

// share tells other sensors what is due. It is not tried again: what fails waits for
// the next epoch.
func (s *Store) share(ctx context.Context, now time.Time, all bool) {
	if s.suspect.Load() || s.history.now.gen == 0 {
		return // the next generation does
	}
	due := s.shelf.take(now, all)
	for len(due) > 0 {
		n, size := 0, 0
		for n < len(due) && n < pipeCommands/2 && size < pipeBytes {
			size += len(s.shelf.waiting[due[n]].value)
			n++
		}
		if err := s.sharePart(ctx, now, due[:n]); err != nil {
			s.suspect.Store(true)
			s.shelf.order = append(due, s.shelf.order...)
			s.log.Debug("redis: others were not told of entities; that is done with the next epoch", "error", err)
			return
		}
		due = due[n:]
	}
}

func (s *Store) sharePart(ctx context.Context, now time.Time, keys []string) error {
	p := s.client.Pipeline()
	field, period := entityField(s.cfg.Sensor, s.history.now.gen), s.period()
	for _, k := range keys {
		w, key := s.shelf.waiting[k], s.entityKey([]byte(k))
		g, told := s.shelf.given[maphash.String(s.shelf.seed, k)]
		if len(w.value) == 0 {
			p.HDel(ctx, key, field)
			continue
		}
		p.HSet(ctx, key, field, encodeEntity(w.epoch, w.value, []byte(k), field))
		if !told || g.period != period {
			p.Expire(ctx, key, s.cfg.ttl())
		}
		if old := s.olderFields(); !told && len(old) > 0 {
			p.HDel(ctx, key, old...)
		}
	}
	s.count.commands.Add(uint64(p.Len()))
	if cmds, err := p.Exec(ctx); err != nil {
		if err := s.failed(cmds); err != nil {
			return err
		}
	}
	for _, k := range keys {
		h := maphash.String(s.shelf.seed, k)
		if len(s.shelf.waiting[k].value) == 0 {
			delete(s.shelf.given, h)
		} else {
			s.shelf.given[h] = given{max(now.Unix(), 1), period}
		}
		s.shelf.bytes -= len(s.shelf.waiting[k].value)
		delete(s.shelf.waiting, k)
	}
	return nil
}

// olderFields names the fields that our last generations may have left.
func (s *Store) olderFields() (fields []string) {
	for _, h := range s.history.spans[max(0, len(s.history.spans)-8):] {
		fields = append(fields, entityField(s.cfg.Sensor, h.gen))
	}
	return fields
}

// failed returns the error of a pipeline. A key that somebody else uses is no error: it
// would be one for ever.
func (s *Store) failed(cmds []goredis.Cmder) (failed error) {
	refused := 0
	for _, c := range cmds {
		switch err := c.Err(); {
		case err == nil || errors.Is(err, goredis.Nil):
		case wrongType(err):
			refused++
		default:
			failed = err
		}
	}
	if refused > 0 {
		s.count.refused.Add(uint64(refused))
		s.log.Warn("keys in redis are of another type: somebody else uses them", "prefix", s.prefix, "keys", refused)
	}
	return failed
}
