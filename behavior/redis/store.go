// Package redis keeps baselines in Redis, where all sensors share them.
//
// Every write can be repeated, and comes to the same in any order: clients re-send what
// they got no answer to, and what was sent may arrive long after. An entity is one hash,
// with two fields for each sensor that are written in turns, each tagged with its epoch.
// What a sensor alone needs lies in ledgers, whose fields are never written again. The
// sensor's epoch is written last, in one command with its positions; readers take the
// newest version that is not newer than it. So an epoch is seen as a whole or not at
// all, without transactions and on any number of nodes.
package redis

import (
	"cmp"
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
// Fetch, Stats and Inspect may be called beside them.
type Store struct {
	cfg    Config
	prefix string
	client goredis.UniversalClient
	log    *slog.Logger
	id     string // of this process, in its claims

	history history // which of our versions count
	last    uint64  // the last epoch that was committed
	sealed  uint64  // the generation whose commit is the last; 0: none
	markers []int   // that the last commit has set
	slots   slots
	ledgers map[bucket]*ledger
	recent  recent
	garbage []fieldsOf  // to be removed once the epoch is committed
	suspect atomic.Bool // something was sent whose answer was lost

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
	Refused  uint64    // records whose key somebody else uses for something else
	Missing  uint64    // records that Redis has lost or evicted
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
		slots: newSlots(), ledgers: map[bucket]*ledger{},
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
		return nil, fmt.Errorf("redis at %s: %w", c.where(), err)
	}
	return s, nil
}

// where says where Redis is, for messages.
func (c *Config) where() string {
	if c.Socket != "" {
		return c.Socket
	}
	return strings.Join(c.Addresses, ", ")
}

// Close closes the connections. What Commit has returned from is safe.
func (s *Store) Close() error { return s.client.Close() }

// own is what a sensor's key holds.
type own struct {
	fields map[string]string
	commit commit
	field  string   // of the commit; "" if there is none
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
			if err == nil && c.now.gen != v.gen {
				err = errDamaged
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s %s: %w", key, f, err))
			} else if o.field == "" || c.now.after(o.commit.now) {
				o.commit, o.field = c, f
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
// nobody else writes as this sensor. What Redis has lost of single records is counted
// in Stats and logged.
func (s *Store) Load(ctx context.Context, f func(state.Section, state.Record) error) (epoch uint64, err error) {
	key := s.sensorKey(s.cfg.Sensor)
	fields, err := s.client.HGetAll(ctx, key).Result()
	if err != nil {
		return 0, fmt.Errorf("redis: reading %s: %w", key, err)
	}
	o, err := readOwn(key, fields)
	if err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	s.adopt(&o)
	if err := s.claim(ctx); err != nil {
		return 0, err
	}
	s.markers, s.recent = o.commit.markers, recent{before: s.last}
	for b := range eachBucket() {
		if b.section != state.Positions {
			if fields, err = s.client.HGetAll(ctx, s.ledgerKey(b)).Result(); err != nil {
				return 0, fmt.Errorf("redis: reading %s: %w", s.ledgerKey(b), err)
			}
		}
		if err := s.loadBucket(ctx, b, fields, f); err != nil {
			return 0, err
		}
	}
	if node, err := s.marked(ctx); err != nil {
		return 0, err
	} else if node < s.last {
		s.log.Error("a node of redis has lost records: those that changed in these epochs are old", "from", node+1, "to", s.last)
	}
	if m := s.count.missing.Load(); m > 0 {
		s.log.Warn("redis has lost records of entities: it was out of memory, or a node failed", "records", m)
	}
	return s.last, s.clean(ctx)
}

// eachBucket lists the buckets of all ledgers; those of positions come first.
func eachBucket() iter.Seq[bucket] {
	return func(yield func(bucket) bool) {
		for section, n := range buckets {
			for i := range n {
				if !yield(bucket{state.Section(section), i}) {
					return
				}
			}
		}
	}
}

// adopt takes over what an earlier process has left.
func (s *Store) adopt(o *own) {
	s.history, s.last, s.sealed = history{}, 0, 0
	if o.field != "" {
		s.history = history{now: o.commit.now, spans: slices.Clone(o.commit.spans)}
		s.last, s.sealed = o.commit.now.epoch, o.commit.now.gen
	}
	for _, gen := range o.claims {
		if gen > s.history.now.gen {
			s.history.next(gen) // it began, and committed nothing
		}
	}
}

func (s *Store) loadBucket(ctx context.Context, b bucket, fields map[string]string, f func(state.Section, state.Record) error) error {
	folded := fold(s.ledgerKey(b), fields, &s.history)
	s.ledgers[b] = &folded.ledger
	if len(folded.void) > 0 {
		s.garbage = append(s.garbage, fieldsOf{s.ledgerKey(b), folded.void})
	}
	s.count.damaged.Add(uint64(folded.bad))
	if folded.bad > 0 {
		s.log.Warn("values in redis are damaged", "key", s.ledgerKey(b), "values", folded.bad)
	}
	keys := slices.Sorted(maps.Keys(folded.records))
	if b.section != keysSection {
		for _, k := range keys {
			if err := f(b.section, state.Record{Key: []byte(k), Value: folded.records[k]}); err != nil {
				return err
			}
		}
		return nil
	}
	for part := range slices.Chunk(keys, readSize) {
		if err := s.loadEntities(ctx, part, f); err != nil {
			return err
		}
	}
	return nil
}

// readSize is how many entities are read at once.
const readSize = 1000

// loadEntities reads this sensor's records of entities.
func (s *Store) loadEntities(ctx context.Context, keys []string, f func(state.Section, state.Record) error) error {
	own := func(sensor string) *history {
		if sensor == s.cfg.Sensor {
			return &s.history
		}
		return nil
	}
	all, err := s.readEntities(ctx, keys, s.cfg.Sensor+":*")
	if err != nil {
		return err
	}
	for i, fields := range all {
		v := newest(keys[i], fields, own)
		s.count.damaged.Add(uint64(v.damaged))
		if old := v.old[s.cfg.Sensor]; len(old) > 0 {
			s.garbage = append(s.garbage, fieldsOf{s.entityKey([]byte(keys[i])), old})
		}
		if len(v.versions) == 0 {
			s.count.missing.Add(1)
			continue
		}
		if err := f(state.Entities, state.Record{Key: []byte(keys[i]), Value: v.versions[0].Value}); err != nil {
			return err
		}
		if len(s.garbage) >= readSize {
			if err := s.clean(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// readEntities reads the fields of entities that match a pattern: of one sensor or
// of all.
func (s *Store) readEntities(ctx context.Context, keys []string, match string) ([]map[string]string, error) {
	all := make([]map[string]string, len(keys))
	cursors := make([]uint64, len(keys))
	left := make([]int, len(keys))
	for i := range keys {
		all[i], left[i] = map[string]string{}, i
	}
	for len(left) > 0 {
		pipe := s.client.Pipeline()
		scans := make([]*goredis.ScanCmd, len(left))
		for j, i := range left {
			scans[j] = pipe.HScan(ctx, s.entityKey([]byte(keys[i])), cursors[i], match, 1000)
		}
		if _, err := pipe.Exec(ctx); err != nil && !wrongType(err) {
			return nil, fmt.Errorf("redis: reading entities: %w", err)
		}
		var more []int
		for j, i := range left {
			pairs, cursor, err := scans[j].Result()
			if err != nil && !wrongType(err) {
				return nil, fmt.Errorf("redis: reading entities: %w", err)
			}
			for ; len(pairs) > 1; pairs = pairs[2:] {
				all[i][pairs[0]] = pairs[1]
			}
			if cursors[i] = cursor; cursor != 0 {
				more = append(more, i)
			}
		}
		left = more
	}
	return all, nil
}

// wrongType reports whether a key is not ours: it is not of the type that we write.
func wrongType(err error) bool { return goredis.HasErrorPrefix(err, "WRONGTYPE") }

// Version is what one sensor knows of an entity.
type Version struct {
	Sensor string
	Epoch  uint64 // of that sensor
	Value  []byte
}

// newestVersions is what newest finds of one entity.
type newestVersions struct {
	versions []Version           // one a sensor, in the order of their names
	old      map[string][]string // fields by sensor that do not count, or not any more
	damaged  int                 // and of other formats
}

// newest finds the newest version of each sensor that counts. Sensors whose history is
// not known are left out.
func newest(key string, fields map[string]string, of func(sensor string) *history) newestVersions {
	type found struct {
		version
		field string
		value []byte
	}
	best := map[string]found{}
	n := newestVersions{old: map[string][]string{}}
	for f, b := range fields {
		sensor, gen, ok := parseEntityField(f)
		if !ok {
			continue
		}
		h := of(sensor)
		if h == nil {
			continue
		}
		epoch, value, err := decodeEntity(b, []byte(key), f)
		v := version{gen, epoch}
		switch {
		case err != nil:
			n.damaged++ // left alone: it may be of a newer format
		case !h.counts(v):
			n.old[sensor] = append(n.old[sensor], f)
		case best[sensor].field == "":
			best[sensor] = found{v, f, value}
		case v.after(best[sensor].version):
			n.old[sensor] = append(n.old[sensor], best[sensor].field)
			best[sensor] = found{v, f, value}
		default:
			n.old[sensor] = append(n.old[sensor], f)
		}
	}
	for sensor, b := range best {
		n.versions = append(n.versions, Version{sensor, b.epoch, b.value})
	}
	slices.SortFunc(n.versions, func(a, b Version) int { return cmp.Compare(a.Sensor, b.Sensor) })
	return n
}

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
		s.count.commands.Add(3)
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("redis: claiming %s: %w", key, err)
		}
		if owner.Val() == s.id {
			break
		}
		gen++
	}
	s.history.next(gen)
	s.slots = newSlots()
	s.suspect.Store(false)
	return nil
}
