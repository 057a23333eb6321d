package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

const (
	// A pipeline is sent when it holds so many commands or bytes.
	pipeCommands = 512
	pipeBytes    = 512 << 10

	backoffMin = 50 * time.Millisecond
	backoffMax = 10 * time.Second
)

// Commit makes an epoch durable, all of it or nothing. While Redis cannot be reached,
// or refuses, it tries again until ctx ends. Its error is ctx's, ErrTaken or a
// LostError; after the last two, the process starts again with Load. It keeps c.
func (s *Store) Commit(ctx context.Context, c *state.Checkpoint) error {
	if s.history.now.gen == 0 {
		if err := s.insist(ctx, func() error { _, err := s.begin(ctx); return err }); err != nil {
			return err
		}
	}
	switch {
	case c.Epoch < s.last:
		return fmt.Errorf("redis: epoch %d is older than the one committed last, %d", c.Epoch, s.last)
	case c.Epoch == s.last && ctx.Err() == nil:
		return nil // it came twice
	}
	pending := []*state.Checkpoint{c}
	err := s.insist(ctx, func() error {
		lost, err := s.verify(ctx)
		if len(lost) > 0 {
			s.log.Warn("redis has lost epochs that were committed: they are written again", "epochs", len(lost), "from", lost[0].Epoch, "to", lost[len(lost)-1].Epoch)
			s.count.lost.Add(uint64(len(lost)))
			pending = append(slices.Clone(lost), c)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.history.now.epoch = c.Epoch
	w := writer{Store: s, ctx: ctx, epoch: c.Epoch, period: s.period(), deltas: map[bucket][]byte{}}
	for _, step := range []func([]*state.Checkpoint) error{w.ledgers, w.mark, w.seal} {
		if err := step(pending); err != nil {
			return err
		}
	}
	s.last = c.Epoch
	s.recent.add(c)
	s.count.commits.Add(1)
	s.count.committed.Store(time.Now().UnixNano())
	if err := s.clean(ctx); err != nil {
		s.suspect.Store(true)
		s.log.Debug("redis: what is out of date was not removed; it does no harm", "error", err)
	}
	for _, p := range pending {
		s.shelf.put(p)
	}
	if s.stands(ctx) {
		s.share(ctx, time.Now(), false)
	}
	return nil
}

// stands reports whether the sensor's name is still ours. What is told of entities after
// another has taken it may be what that one has just taken back.
func (s *Store) stands(ctx context.Context) bool {
	claimed, _, err := s.standing(ctx)
	return err == nil && claimed
}

// period numbers quarters of the TTL: a key that was written in one needs no new TTL
// until the next.
func (s *Store) period() uint64 { return uint64(time.Now().UnixNano() / int64(s.cfg.ttl()/4)) }

// insist calls f until it succeeds, its error is final, or ctx ends.
func (s *Store) insist(ctx context.Context, f func() error) error {
	wait, began, said := backoffMin, time.Now(), time.Time{}
	for {
		err := f()
		switch {
		case err == nil:
			if !said.IsZero() {
				s.log.Info("redis takes writes again", "after", time.Since(began).Round(time.Millisecond))
			}
			return nil
		case final(err):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		s.count.retries.Add(1)
		if cluster, ok := s.client.(*goredis.ClusterClient); ok {
			cluster.ReloadState(ctx) // a replica may have taken over
		}
		if time.Since(said) > time.Minute {
			s.log.Warn("redis does not take an epoch; detection goes on, and it is tried again", "error", err)
			said = time.Now()
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, backoffMax)
	}
}

// final reports whether trying again is of no use.
func final(err error) bool {
	var lost *LostError
	return errors.Is(err, ErrTaken) || errors.As(err, &lost)
}

// verify makes sure that Redis still has what was committed, and that nobody else
// writes as this sensor. It returns the epochs that Redis has lost and that are in
// memory.
func (s *Store) verify(ctx context.Context) ([]*state.Checkpoint, error) {
	claimed, found, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	node, err := s.marked(ctx)
	if err != nil {
		return nil, err
	}
	if found == s.last && node == s.last && claimed {
		return nil, nil
	}
	if _, whole := s.recent.since(found, s.last); !whole {
		return nil, &LostError{Committed: s.last, Found: found}
	}
	lost, whole := s.recent.since(min(found, node), s.last)
	if !whole {
		s.log.Error("a node of redis has lost records for good: those that changed in these epochs and not since are old", "from", node+1, "to", s.last)
	}
	return lost, s.claim(ctx)
}

// standing reads whether our claim stands, and the last epoch that Redis says was
// committed.
func (s *Store) standing(ctx context.Context) (claimed bool, found uint64, err error) {
	key := s.sensorKey(s.cfg.Sensor)
	pipe := s.client.Pipeline()
	names := pipe.HKeys(ctx, key)
	committed := pipe.HGet(ctx, key, s.sealed)
	s.count.commands.Add(2)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return false, 0, err
	}
	for _, f := range names.Val() {
		kind, v, ok := parseField(f)
		if !ok || kind != fieldOwner {
			continue
		}
		if v.gen > s.history.now.gen {
			return false, 0, ErrTaken
		}
		claimed = claimed || v.gen == s.history.now.gen
	}
	if c, err := decodeCommit(committed.Val(), key, s.sealed); err == nil {
		return claimed, min(c.now.epoch, s.last), nil
	}
	if s.sealed == "" {
		return claimed, s.last, nil // nothing was committed yet
	}
	// It is gone; an earlier one may be there.
	all, err := s.client.HGetAll(ctx, key).Result()
	if err != nil {
		return false, 0, err
	}
	o, _ := readOwn(key, all)
	return claimed, min(o.commit.now.epoch, s.last), nil
}

// recent keeps the last epochs that were committed: a primary that fails takes with it
// what it had not yet given to its replica.
type recent struct {
	before uint64 // the epoch before the first
	epochs []*state.Checkpoint
	size   int
}

// recentBytes bounds recent; the last epoch is kept whatever its size.
const recentBytes = 32 << 20

func (r *recent) add(c *state.Checkpoint) {
	r.epochs = append(r.epochs, c)
	r.size += sizeOf(c)
	for len(r.epochs) > 1 && r.size > recentBytes {
		r.size -= sizeOf(r.epochs[0])
		r.before = r.epochs[0].Epoch
		r.epochs = slices.Delete(r.epochs, 0, 1)
	}
}

func sizeOf(c *state.Checkpoint) (n int) {
	for _, rs := range c.Changed {
		for _, r := range rs {
			n += len(r.Key) + len(r.Value) + 48
		}
	}
	return n
}

// since returns the epochs after one and up to the last, and whether they are all
// there.
func (r *recent) since(epoch, last uint64) (after []*state.Checkpoint, whole bool) {
	if epoch >= last {
		return nil, true
	}
	i := slices.IndexFunc(r.epochs, func(c *state.Checkpoint) bool { return c.Epoch > epoch })
	if i < 0 {
		return nil, false
	}
	return r.epochs[i:], i > 0 || r.before <= epoch
}

// writer writes one epoch.
type writer struct {
	*Store
	ctx    context.Context
	epoch  uint64
	period uint64
	deltas map[bucket][]byte // what the epoch changes in ledgers
	budget int               // bytes of buckets that may be written as a whole
}

// send sends commands until Redis has done all of them. It calls fill again before each
// attempt, in a generation of its own: the names of fields differ.
func (w *writer) send(fill func(p goredis.Pipeliner)) error {
	return w.insist(w.ctx, func() error {
		if w.suspect.Load() {
			if err := w.renew(); err != nil {
				return err
			}
		}
		p := w.client.Pipeline()
		fill(p)
		if p.Len() == 0 {
			return nil
		}
		w.count.commands.Add(uint64(p.Len()))
		cmds, err := p.Exec(w.ctx)
		if err == nil {
			return nil
		}
		if err = w.failed(cmds); err != nil {
			w.suspect.Store(true)
		}
		return err
	})
}

// renew begins a generation within an epoch. What the last one has written of this
// epoch counts if the epoch is committed: it is the same.
func (w *writer) renew() error {
	if err := w.claim(w.ctx); err != nil {
		return err
	}
	w.history.now.epoch = w.epoch
	return nil
}

// ledgers writes what changed. Positions are left to seal.
func (w *writer) ledgers(pending []*state.Checkpoint) error {
	for _, c := range pending {
		for section, rs := range c.Changed {
			for _, r := range rs {
				b := bucketOf(state.Section(section), r.Key)
				w.deltas[b] = appendEntry(w.deltas[b], r.Key, r.Value)
				w.budget += 2 * (len(r.Key) + len(r.Value))
			}
		}
	}
	w.budget = max(w.budget, 8<<20)
	var batch []entry
	size := 0
	for b := range eachBucket() {
		if b.section == state.Positions {
			continue
		}
		e, err := w.entry(b)
		if err != nil {
			return err
		}
		batch = append(batch, e)
		if size += len(e.body); size > pipeBytes {
			if err := w.sendEntries(batch); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
	}
	return w.sendEntries(batch)
}

// entry is a field of a bucket that is to be written.
type entry struct {
	bucket
	kind   rune
	body   []byte
	expire bool // its TTL is to be renewed
}

func (w *writer) sendEntries(batch []entry) error {
	return w.send(func(p goredis.Pipeliner) {
		for _, e := range batch {
			key := w.ledgerKey(e.bucket)
			if e.kind != 0 {
				field := epochField(e.kind, w.history.now)
				p.HSet(w.ctx, key, field, seal(e.body, key, field))
				w.Store.ledgers[e.bucket].tip = w.history.now
			}
			if e.expire {
				p.Expire(w.ctx, key, w.cfg.ttl())
			}
		}
	})
}

// entry returns what is to be written to a bucket: what changed, or, when many changes
// have come together, everything.
func (w *writer) entry(b bucket) (entry, error) {
	l := w.Store.ledgers[b]
	if l == nil { // it was not read: its size is not known
		l = &ledger{since: 1 << 30}
		w.Store.ledgers[b] = l
	}
	e := entry{bucket: b, body: w.deltas[b], expire: l.period != w.period && (l.tip.gen != 0 || len(w.deltas[b]) > 0)}
	if e.expire {
		l.period = w.period
	}
	if len(e.body) == 0 && (!w.wholes || l.deltas == 0) {
		return e, nil
	}
	e.kind = fieldDelta
	if should, must := l.due(len(e.body)); !w.wholes && !must && (!should || w.budget < l.whole+l.since) {
		l.deltas++
		l.since += len(e.body)
		return e, nil
	}
	w.budget -= l.whole + l.since
	e.kind = fieldWhole
	f, err := w.readBucket(b)
	if err != nil {
		return e, err
	}
	if err := apply(f.records, e.body); err != nil {
		panic("redis: " + err.Error())
	}
	w.garbage = append(w.garbage, fieldsOf{w.ledgerKey(b), f.fields})
	e.body = f.body()
	*l = ledger{whole: len(e.body), period: l.period, tip: l.tip}
	return e, nil
}

// readBucket reads what a bucket of ours holds.
func (w *writer) readBucket(b bucket) (f folded, err error) {
	key := w.ledgerKey(b)
	err = w.insist(w.ctx, func() error {
		w.count.commands.Add(1)
		fields, err := w.client.HGetAll(w.ctx, key).Result()
		f = fold(key, fields, &w.history)
		return err
	})
	if f.bad > 0 {
		w.count.damaged.Add(uint64(f.bad))
		w.log.Warn("values in redis are damaged", "key", key, "values", f.bad)
	}
	return f, err
}

// seal writes the epoch itself, with the positions, in one command.
func (w *writer) seal([]*state.Checkpoint) error {
	b := bucket{section: state.Positions}
	key := w.ledgerKey(b)
	e, err := w.entry(b)
	if err != nil {
		return err
	}
	var sealed string
	err = w.send(func(p goredis.Pipeliner) {
		if e.kind != 0 {
			w.Store.ledgers[b].tip = w.history.now
		}
		c := commit{history: w.history, written: time.Now().UnixNano(), markers: w.markers, tips: w.tips()}
		sealed = epochField(fieldCommit, w.history.now)
		args := []any{sealed, c.encode(key, sealed)}
		if e.kind != 0 {
			field := epochField(e.kind, w.history.now)
			args = append(args, field, seal(e.body, key, field))
		}
		p.HSet(w.ctx, key, args...)
		p.Expire(w.ctx, key, w.cfg.ttl())
	})
	if err != nil {
		return err
	}
	w.outdated(key, sealed)
	w.sealed = sealed
	return nil
}

// tips returns the last field of each bucket.
func (s *Store) tips() map[bucket]version {
	tips := map[bucket]version{}
	for b, l := range s.ledgers {
		if l.tip.gen != 0 {
			tips[b] = l.tip
		}
	}
	return tips
}

// outdated marks fields of a sensor's key for removal: the commit before this one, and
// claims of generations before its own.
func (w *writer) outdated(key string, sealed string) {
	if w.sealed == sealed || w.sealed == "" {
		return
	}
	old := fieldsOf{key: key, fields: []string{w.sealed}}
	_, before, _ := parseField(w.sealed)
	for _, s := range w.history.spans {
		if s.gen >= before.gen && s.gen < w.history.now.gen {
			old.fields = append(old.fields, genField(fieldOwner, s.gen))
		}
	}
	w.garbage = append(w.garbage, old)
}

// clean removes what is out of date. What it does not get to is removed when its field
// is met again, or by its TTL.
func (s *Store) clean(ctx context.Context) error {
	todo := s.garbage
	s.garbage = nil
	for len(todo) > 0 {
		part := todo[:min(len(todo), pipeCommands)]
		p := s.client.Pipeline()
		for _, g := range part {
			if len(g.fields) > 0 {
				p.HDel(ctx, g.key, g.fields...)
			}
		}
		if p.Len() > 0 {
			s.count.commands.Add(uint64(p.Len()))
			if _, err := p.Exec(ctx); err != nil && !wrongType(err) {
				s.garbage = todo
				return fmt.Errorf("redis: removing what is out of date: %w", err)
			}
		}
		todo = todo[len(part):]
	}
	return nil
}
