package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"tidewatch/behavior/state"
)

// watch tells of pipelines whose answers a node of a cluster did not give: the client
// sends them again by itself.
type watch struct{ lost func() }

func (w watch) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (w watch) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (w watch) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		if err != nil && ambiguous(err) {
			w.lost()
		}
		return err
	}
}

// ambiguous reports whether an error leaves open if a command was done, or will be.
func ambiguous(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var answer goredis.Error
	return !errors.As(err, &answer)
}

// mark sets a marker on each node of a cluster after everything else that the epoch
// wrote there, and waits for the replicas that are asked for. A node that fails and has
// lost part of the epoch has lost its marker too.
func (w *writer) mark([]*state.Checkpoint) error {
	if !w.cfg.Cluster && w.cfg.Replicas == 0 {
		return nil // the epoch itself comes after everything else
	}
	return w.insist(w.ctx, func() error {
		markers, err := w.choose()
		if err != nil {
			return err
		}
		for _, m := range markers {
			if err := w.markNode(m); err != nil {
				return err
			}
		}
		w.markers = markers
		return nil
	})
}

func (w *writer) markNode(m int) error {
	key := w.markerKey(m)
	node, ok := w.client.(*goredis.Client)
	if cluster, is := w.client.(*goredis.ClusterClient); is {
		var err error
		if node, err = cluster.MasterForKey(w.ctx, key); err != nil {
			return err
		}
	} else if !ok {
		return fmt.Errorf("redis: markers on a client of type %T", w.client)
	}
	// On one connection: WAIT is about what was written on its own.
	p := node.Pipeline()
	p.HSet(w.ctx, key, epochField(fieldEpoch, w.history.now), "")
	if w.last > 0 { // the one before is history.now's, or of a generation that has ended
		p.HDel(w.ctx, key, epochField(fieldEpoch, version{w.history.now.gen, w.last}))
	}
	p.Expire(w.ctx, key, w.cfg.ttl())
	var have *goredis.Cmd
	if w.cfg.Replicas > 0 {
		have = p.Do(w.ctx, "wait", w.cfg.Replicas, (w.cfg.timeout() / 2).Milliseconds())
	}
	w.count.commands.Add(uint64(p.Len()))
	if _, err := p.Exec(w.ctx); err != nil {
		return err
	}
	if have != nil {
		if n, _ := have.Int(); n < w.cfg.Replicas {
			return fmt.Errorf("%d of %d replicas have the epoch", n, w.cfg.Replicas)
		}
	}
	return nil
}

// choose returns one marker for each primary.
func (w *writer) choose() ([]int, error) {
	cluster, ok := w.client.(*goredis.ClusterClient)
	if !ok {
		return []int{0}, nil
	}
	w.count.commands.Add(1)
	shards, err := cluster.ClusterShards(w.ctx).Result()
	if err != nil {
		return nil, err
	}
	var markers []int
	for _, shard := range shards {
		if len(shard.Slots) == 0 || len(markers) == maxMarkers {
			continue
		}
		if at := shard.Slots[0].Start; at >= 0 && at < numSlots {
			markers = append(markers, markerIn()[at])
		}
	}
	slices.Sort(markers)
	return markers, nil
}

// marked returns the last epoch that all markers of the last commit have.
func (s *Store) marked(ctx context.Context) (uint64, error) {
	epoch := s.last
	if len(s.markers) == 0 {
		return epoch, nil
	}
	p := s.client.Pipeline()
	values := make([]*goredis.StringSliceCmd, len(s.markers))
	for i, m := range s.markers {
		values[i] = p.HKeys(ctx, s.markerKey(m))
	}
	s.count.commands.Add(uint64(p.Len()))
	if _, err := p.Exec(ctx); err != nil {
		return 0, err
	}
	for i, v := range values {
		var has version // the newest that counts: a network may have repeated older ones
		old := fieldsOf{key: s.markerKey(s.markers[i])}
		for _, f := range v.Val() {
			kind, v, ok := parseField(f)
			switch {
			case !ok || kind != fieldEpoch || v.gen == s.history.now.gen && !s.history.counts(v): // of the epoch on its way
			case !s.history.counts(v) || !v.after(has):
				old.fields = append(old.fields, f)
			default:
				if has.gen != 0 {
					old.fields = append(old.fields, epochField(fieldEpoch, has))
				}
				has = v
			}
		}
		if len(old.fields) > 0 {
			s.garbage = append(s.garbage, old)
		}
		epoch = min(epoch, has.epoch)
	}
	return epoch, nil
}

// numSlots is how many slots a cluster has.
const numSlots = 16384

// markerIn returns, for each slot, a number whose marker lies in it.
var markerIn = sync.OnceValue(func() *[numSlots]int {
	var in [numSlots]int
	for n, left := 1, numSlots; left > 0; n++ {
		if at := &in[slotOf(strconv.Itoa(n))]; *at == 0 {
			*at = n
			left--
		}
	}
	return &in
})

// slotOf is the slot of what a key has in braces: its CRC16 (polynomial 0x1021, the
// cluster specification calls it XMODEM) modulo the number of slots.
func slotOf(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % numSlots
}
