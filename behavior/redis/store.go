// Package redis keeps baselines in Redis, where all sensors share them.
//
// Every write can be repeated, and comes to the same in any order: clients re-send what
// they got no answer to, and what was sent may arrive long after. What a sensor's epochs
// change goes into ledgers, hashes whose fields are named after the epoch and never
// written again. The epoch itself is written last, in one command with its positions;
// readers pass over what is newer. So an epoch is seen as a whole or not at all, without
// transactions and on any number of nodes.
//
// What a sensor knows of an entity is also kept in one hash for the entity, a field a
// sensor, which the others read.
package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

// Store keeps the checkpoints of one sensor. Load and Commit are for one goroutine;
// Fetch, Stats and Inspect may be called beside them, and Peers and Exchange by one more.
type Store struct {
	cfg    Config
	prefix string
	client goredis.UniversalClient
	log    *slog.Logger
	id     string // of this process, in its claims

	history history // which of our versions count
	last    uint64  // the last epoch that was committed
	sealed  string  // the field of the last commit; "": there is none
	markers []int   // that the last commit has set
	ledgers map[bucket]*ledger
	recent  recent
	shelf   shelf
	garbage []fieldsOf  // to be removed once the epoch is committed
	suspect atomic.Bool // something was sent whose answer was lost
	wholes  bool        // each bucket that holds anything old is written anew

	// What Peers and Exchange alone use.
	seen  map[string]version // of other sensors
	peers int                // sensors beside this one
	asker asker

	count counters
}

// fieldsOf are fields of one key.
type fieldsOf struct {
	key    string
	fields []string
}

// counters are what Stats returns.
type counters struct {
	commits, retries, commands, refused, missing, damaged, lost atomic.Uint64
	committed                                                   atomic.Int64
}

// Stats says what a Store has done since it was opened.
type Stats struct {
	Commits  uint64    // epochs
	Retries  uint64    // of writes that failed
	Commands uint64    // sent by Commit
	Refused  uint64    // writes to a key that somebody else uses for something else
	Missing  uint64    // keys that Redis has lost or evicted
	Damaged  uint64    // values with a wrong checksum
	Lost     uint64    // epochs that Redis lost and that were written again
	Last     time.Time // of the last commit
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	st := Stats{
		Commits: s.count.commits.Load(), Retries: s.count.retries.Load(), Commands: s.count.commands.Load(),
		Refused: s.count.refused.Load(), Missing: s.count.missing.Load(), Damaged: s.count.damaged.Load(), Lost: s.count.lost.Load(),
	}
	if ns := s.count.committed.Load(); ns != 0 {
		st.Last = time.Unix(0, ns)
	}
	return st
}

// ErrTaken is returned by Commit when another process has begun to write as the same
// sensor.
var ErrTaken = errors.New("another process writes as this sensor: each sensor needs a name of its own")

// LostError is returned by Commit when Redis has lost epochs that were committed and
// that are no longer in memory: after it was emptied, or restored from an old copy. Load
// and the logs from there on bring the state back.
type LostError struct{ Committed, Found uint64 }

func (e *LostError) Error() string {
	return fmt.Sprintf("redis has lost epochs: %d was committed, it has %d", e.Committed, e.Found)
}

// Open connects to Redis and asks it for an answer. Load comes next.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: c, prefix: c.Prefix + ":", log: c.Log, id: rand.Text(),
		ledgers: map[bucket]*ledger{}, seen: map[string]version{}, asker: newAsker(time.Duration(c.Share)), shelf: newShelf(time.Duration(c.Share)),
	}
	if c.Curator {
		s.id = curating + s.id
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.client, err = c.connect(func() { s.suspect.Store(true) }); err != nil {
		return nil, err
	}
	if err := s.client.Ping(ctx).Err(); err != nil {
		_ = s.client.Close()
		if passes(err) {
			return nil, fmt.Errorf("redis at %s: %w: %w", c.where(), ErrAway, err)
		}
		return nil, fmt.Errorf("redis at %s: %w", c.where(), err)
	}
	return s, nil
}

// ErrAway says that Redis does not answer, or is not ready to: it may be worth to wait.
var ErrAway = errors.New("it cannot be reached")

// passes reports whether an error may end by itself: that nobody answers, or that who
// answers is not ready. A password that is wrong stays wrong.
func passes(err error) bool {
	var said goredis.Error
	if !errors.As(err, &said) {
		return true
	}
	for _, p := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN", "ERR max number of clients"} {
		if strings.HasPrefix(said.Error(), p) {
			return true
		}
	}
	return false
}

// where says where Redis is, for messages.
func (c *Config) where() string {
	if c.Socket != "" {
		return c.Socket
	}
	return strings.Join(c.Addresses, ", ")
}

// Close gives other sensors what they have not got yet, as far as one timeout allows, and
// closes the connections. What Commit has returned from is safe.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.timeout())
	defer cancel()
	if s.history.now.gen != 0 && s.stands(ctx) {
		s.share(ctx, time.Now(), true)
	}
	return s.client.Close()
}

// own is what a sensor's key holds.
type own struct {
	fields map[string]string
	commit commit
	field  string   // of the commit; "" if there is none
	old    []string // fields of other commits
	claims []uint64 // generations, in order
	owner  map[uint64]string
}

// readOwn reads a sensor's key.
func readOwn(key string, fields map[string]string) (own, error) {
	o := own{fields: fields, owner: map[uint64]string{}}
	var failed error
	for f, b := range fields {
		kind, v, ok := parseField(f)
		switch {
		case ok && kind == fieldOwner:
			o.claims = append(o.claims, v.gen)
			o.owner[v.gen] = b
		case ok && kind == fieldCommit:
			c, err := decodeCommit(b, key, f)
			if err == nil && c.now != v {
				err = errDamaged
			}
			switch {
			case err != nil:
				failed = errors.Join(failed, fmt.Errorf("%s %s: %w", key, f, err))
			case o.field == "" || c.now.after(o.commit.now):
				if o.field != "" {
					o.old = append(o.old, o.field)
				}
				o.commit, o.field = c, f
			default:
				o.old = append(o.old, f)
			}
		}
	}
	slices.Sort(o.claims)
	if o.field != "" {
		failed = nil // an older one is damaged: it does not count any more
	}
	return o, failed
}

// Load gives f the records of this sensor as they were at its last commit, section by
// section, and returns the epoch of that commit: 0 if there is none. From then on
// nobody else writes as this sensor. It may be called again, to go back to that epoch.
// What Redis has lost of single keys is counted in Stats and logged.
func (s *Store) Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error) {
	o, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.load(ctx, &o, f); err != nil {
		return 0, err
	}
	if node, err := s.marked(ctx); err != nil {
		return 0, err
	} else if node < s.last {
		s.log.Error("a node of redis has lost records: those that changed in these epochs are old", "from", node+1, "to", s.last)
	}
	return s.last, s.clean(ctx)
}

// load gives f the records of the last commit.
func (s *Store) load(ctx context.Context, o *own, f func(state.Section, state.Record) error) error {
	if err := s.loadBucket(bucket{section: state.Positions}, o.fields, o.commit.tips[bucket{section: state.Positions}], f); err != nil {
		return err
	}
	for part := range batches(eachBucket(), readBuckets) { // positions once more: they are few
		p := s.client.Pipeline()
		cmds := make([]*goredis.MapStringStringCmd, len(part))
		for i, b := range part {
			cmds[i] = p.HGetAll(ctx, s.ledgerKey(b))
		}
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("redis: reading %s and others: %w", s.ledgerKey(part[0]), err)
		}
		for i, b := range part {
			if b.section == state.Positions {
				continue
			}
			if err := s.loadBucket(b, cmds[i].Val(), o.commit.tips[b], f); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBuckets is how many buckets are read at once: they may be large.
const readBuckets = 8

// batches cuts a sequence into slices of at most n.
func batches[T any](seq iter.Seq[T], n int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		var part []T
		for v := range seq {
			if part = append(part, v); len(part) == n {
				if !yield(part) {
					return
				}
				part = nil
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// begin reads where this sensor is, and claims its name.
func (s *Store) begin(ctx context.Context) (own, error) {
	o, err := s.look(ctx)
	if err != nil {
		return own{}, err
	}
	return o, s.claim(ctx)
}

// look reads where this sensor is. What this process knew beyond that is forgotten.
func (s *Store) look(ctx context.Context) (own, error) {
	key := s.sensorKey(s.cfg.Sensor)
	fields, err := s.client.HGetAll(ctx, key).Result()
	if err != nil {
		return own{}, fmt.Errorf("redis: reading %s: %w", key, err)
	}
	o, err := readOwn(key, fields)
	if err != nil {
		return own{}, fmt.Errorf("redis: %w", err)
	}
	s.adopt(&o)
	s.ledgers, s.garbage = map[bucket]*ledger{}, []fieldsOf{{key, o.old}} // a network may have repeated them
	s.markers, s.recent = o.commit.markers, recent{before: s.last}
	s.shelf, s.seen = newShelf(time.Duration(s.cfg.Share)), map[string]version{}
	return o, nil
}

// adopt takes over what an earlier process has left.
func (s *Store) adopt(o *own) {
	s.history, s.last, s.sealed = history{}, 0, ""
	if o.field != "" {
		s.history = history{now: o.commit.now, spans: slices.Clone(o.commit.spans)}
		s.last, s.sealed = o.commit.now.epoch, o.field
	}
	for _, gen := range o.claims {
		if gen > s.history.now.gen {
			s.history.next(gen) // it began, and committed nothing
		}
	}
}

// loadBucket gives f the records of a bucket.
func (s *Store) loadBucket(b bucket, fields map[string]string, tip version, f func(state.Section, state.Record) error) error {
	key := s.ledgerKey(b)
	folded := fold(key, fields, &s.history)
	if folded.ledger.tip != tip {
		s.count.missing.Add(1)
		s.log.Error("redis has lost records: it was out of memory, or a node failed", "key", key)
	}
	if folded.bad > 0 {
		s.count.damaged.Add(uint64(folded.bad))
		s.log.Error("values in redis are damaged", "key", key, "values", folded.bad)
	}
	if len(folded.void) > 0 {
		s.garbage = append(s.garbage, fieldsOf{key, folded.void})
	}
	s.ledgers[b] = &folded.ledger
	for _, k := range slices.Sorted(maps.Keys(folded.records)) {
		if err := f(b.section, state.Record{Key: []byte(k), Value: folded.records[k]}); err != nil {
			return err
		}
	}
	return nil
}

// wrongType reports whether a key is not ours: it is not of the type that we write.
func wrongType(err error) bool { return goredis.HasErrorPrefix(err, "WRONGTYPE") }

// claim begins a generation of our own.
func (s *Store) claim(ctx context.Context) error {
	key := s.sensorKey(s.cfg.Sensor)
	// The clock only makes it likely that a generation is new even where Redis has
	// forgotten the last ones.
	gen := max(s.history.now.gen+1, uint64(time.Now().Unix()))
	for {
		field := genField(fieldOwner, gen)
		pipe := s.client.Pipeline()
		pipe.HSetNX(ctx, key, field, s.id)
		owner := pipe.HGet(ctx, key, field)
		pipe.Expire(ctx, key, s.cfg.ttl())
		pipe.SAdd(ctx, s.prefix+"sensors", s.cfg.Sensor)
		pipe.Expire(ctx, s.prefix+"sensors", s.cfg.ttl())
		s.count.commands.Add(5)
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("redis: claiming %s: %w", key, err)
		}
		if owner.Val() == s.id {
			break
		}
		gen++
	}
	s.history.next(gen)
	s.shelf.renew()
	s.suspect.Store(false)
	return nil
}
