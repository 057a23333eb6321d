package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// redisCount is how many entries are asked for at once.
	redisCount = 256
	// redisWait is how long the server waits for an entry before it says that there
	// is none.
	redisWait = time.Second
	// redisUnacked bounds how many entries of a stream wait for their epoch.
	redisUnacked = 1 << 20
	// redisGroup is the consumer group where none is named.
	redisGroup    = "tidewatch"
	redisConsumer = "tidewatch"
)

// redisStream reads a stream as one consumer of a group. The server keeps what is not
// acknowledged; that is done when the epoch that has it is committed.
type redisStream struct {
	client *redis.Client
	key    string
	group  string
	start  string

	mu      sync.Mutex
	unacked []string // in order
	done    string   // the last that is committed
}

func (r *redisStream) serve(ctx context.Context, s *stream) error {
	err := r.client.XGroupCreateMkStream(ctx, r.key, r.group, r.start).Err()
	if err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
		return err
	}
	// What was given to us and not acknowledged comes first: before a crash, or in an
	// answer that was lost.
	from := s.lastID
	if from == "" {
		from = "0"
	}
	for pending := true; ctx.Err() == nil; {
		id := ">"
		if pending {
			id = from
		}
		ms, err := r.read(ctx, id)
		if err != nil {
			return err
		}
		s.state(StateLive)
		for _, m := range ms {
			from = m.ID
			if err := r.take(ctx, s, m); err != nil {
				return err
			}
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
		pending = pending && len(ms) > 0
	}
	return ctx.Err()
}

func (r *redisStream) read(ctx context.Context, id string) ([]redis.XMessage, error) {
	for {
		r.mu.Lock()
		full := len(r.unacked) >= redisUnacked
		r.mu.Unlock()
		if !full {
			break
		}
		select { // the next epoch makes room
		case <-time.After(redisWait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	block := redisWait
	if id != ">" {
		block = -1 // pending entries are there or not
	}
	res, err := r.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: r.group, Consumer: redisConsumer, Streams: []string{r.key, id}, Count: redisCount, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(res) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return res[0].Messages, nil
}

// take takes one entry, unless it is committed already.
func (r *redisStream) take(ctx context.Context, s *stream, m redis.XMessage) error {
	r.mu.Lock()
	r.unacked = append(r.unacked, m.ID)
	known := !laterID(m.ID, r.done)
	r.mu.Unlock()
	if known {
		r.committed(ctx, r.done)
		return nil
	}
	// Suricata calls the field "eve". One entry has one record.
	text, _ := m.Values["eve"].(string)
	if text == "" {
		for _, k := range []string{"message", "data", "log"} {
			if text, _ = m.Values[k].(string); text != "" {
				break
			}
		}
	}
	return s.add(ctx, []byte(strings.TrimRight(text, "\r\n")), m.ID)
}

// committed acknowledges entries up to id. What fails is acknowledged next time.
func (r *redisStream) committed(ctx context.Context, id string) {
	r.mu.Lock()
	r.done = id
	n := 0
	for n < len(r.unacked) && !laterID(r.unacked[n], id) {
		n++
	}
	ids := slices.Clone(r.unacked[:n])
	r.mu.Unlock()
	for part := range slices.Chunk(ids, 1000) {
		if r.client.XAck(ctx, r.key, r.group, part...).Err() != nil {
			return
		}
		r.mu.Lock()
		r.unacked = r.unacked[min(len(part), len(r.unacked)):]
		r.mu.Unlock()
	}
}

// laterID reports whether the id of an entry, "ms-n", comes after another. "" comes
// before all.
func laterID(a, b string) bool {
	am, an := splitID(a)
	bm, bn := splitID(b)
	return am > bm || am == bm && an > bn
}

func splitID(id string) (ms, n uint64) {
	a, b, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(a, 10, 64)
	n, _ = strconv.ParseUint(b, 10, 64)
	if id != "" {
		n++ // so that "" is less than "0-0"
	}
	return ms, n
}

// redisList takes records from a list. Each is moved to a second list, in one step,
// and removed from there when the epoch that has it is committed: the key with
// ":tidewatch" behind it, and beside it a counter of those that were removed.
type redisList struct {
	client *redis.Client
	key    string
	from   string // side of the list that the oldest record is at

	mu    sync.Mutex
	taken uint64 // records that were moved, ever
	base  uint64 // that were removed
	done  uint64 // that are committed
}

func (r *redisList) held() string    { return r.key + ":tidewatch" }
func (r *redisList) counter() string { return r.key + ":tidewatch:removed" }

func (r *redisList) serve(ctx context.Context, s *stream) error {
	if err := r.recover(ctx, s); err != nil {
		return err
	}
	for ctx.Err() == nil {
		s.state(StateLive)
		n, err := r.move(ctx, s)
		if err != nil {
			return err
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		text, err := r.client.BLMove(ctx, r.key, r.held(), r.from, "LEFT", redisWait).Result()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return err
		default:
			if err := r.take(ctx, s, text); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// move takes what is there, up to a number.
func (r *redisList) move(ctx context.Context, s *stream) (n int, err error) {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.StringCmd, redisCount)
	for i := range cmds {
		cmds[i] = pipe.LMove(ctx, r.key, r.held(), r.from, "LEFT")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return 0, err
	}
	for _, c := range cmds {
		text, err := c.Result()
		if errors.Is(err, redis.Nil) {
			continue // one may come between two of them: what is behind it was moved
		}
		if err != nil {
			return n, err
		}
		n++
		if err := r.take(ctx, s, text); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *redisList) take(ctx context.Context, s *stream, text string) error {
	r.mu.Lock()
	r.taken++
	id := strconv.FormatUint(r.taken, 10)
	r.mu.Unlock()
	return s.add(ctx, []byte(strings.TrimRight(text, "\r\n")), id)
}

// recover takes what was moved and not removed: what is committed of it is removed,
// what we have taken already is left, and the rest is read.
func (r *redisList) recover(ctx context.Context, s *stream) error {
	base, err := r.client.Get(ctx, r.counter()).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	r.mu.Lock()
	r.base = base
	r.taken, r.done = max(r.taken, r.done, base), max(r.done, base)
	done, taken := r.done, r.taken
	r.mu.Unlock()
	if err := r.remove(ctx, done); err != nil {
		return err
	}
	texts, err := r.client.LRange(ctx, r.held(), 0, -1).Result()
	if err != nil {
		return err
	}
	slices.Reverse(texts) // the oldest first
	for i, text := range texts {
		if done+uint64(i)+1 <= taken {
			continue
		}
		if err := r.take(ctx, s, text); err != nil {
			return err
		}
	}
	return nil
}

// remove removes records up to the one with that number.
func (r *redisList) remove(ctx context.Context, to uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = max(r.done, to)
	if r.done <= r.base {
		return nil
	}
	// If an answer was lost, the counter says whether it was done.
	base, err := r.client.Get(ctx, r.counter()).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	r.base = max(r.base, base)
	if r.done <= r.base {
		return nil
	}
	pipe := r.client.TxPipeline()
	pipe.LTrim(ctx, r.held(), 0, -int64(r.done-r.base)-1)
	pipe.Set(ctx, r.counter(), r.done, 0)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	r.base = r.done
	return nil
}

// silence keeps the client from printing what it returns to us as well.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

// newRedis returns the stream of a Redis input, and the key of its position.
func newRedis(f *Follow, in Input) *stream {
	// The client's own retries would lose what an answer that was lost had in it.
	o := *in.Redis.Options()
	o.MaxRetries = -1
	quiet()
	client := redis.NewClient(&o)
	in.Path = in.RedisKey
	if in.Type == TypeRedisList {
		from := "RIGHT"
		if in.PushedRight {
			from = "LEFT"
		}
		r := &redisList{client: client, key: in.RedisKey, from: from}
		s := newStream(f, in, "redis-list/"+in.RedisKey, r.serve)
		s.committed = func(ctx context.Context, id []byte) {
			if n, err := strconv.ParseUint(string(id), 10, 64); err == nil {
				if err := r.remove(ctx, n); err != nil {
					s.problem(err)
				}
			}
		}
		s.restore = func(id string) error {
			n, err := strconv.ParseUint(id, 10, 64)
			r.done, r.taken, s.lastID = n, n, id
			return err
		}
		s.close = client.Close
		return s
	}
	group := in.Group
	if group == "" {
		group = redisGroup
	}
	r := &redisStream{client: client, key: in.RedisKey, group: group, start: "$"}
	if in.StartAt == StartAtBeginning {
		r.start = "0"
	}
	s := newStream(f, in, fmt.Sprintf("redis-stream/%s/%s", in.RedisKey, group), r.serve)
	s.committed = func(ctx context.Context, id []byte) { r.committed(ctx, string(id)) }
	s.restore = func(id string) error { r.done = id; return nil }
	s.close = client.Close
	return s
}
