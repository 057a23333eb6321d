package pipeline

import "context"

// swap is a change of rules on its way through the pipeline.
type swap struct {
	rules Judge
	then  func()
	done  chan struct{} // closed when it has arrived
}

// swapped returns the channel of changes of rules.
func (p *Pipeline) swapped() chan *swap {
	p.swapping.Do(func() { p.swaps = make(chan *swap) })
	return p.swaps
}

// Swap puts other rules in force, between two sequences: findings before it are the old
// rules', those after it the new ones', for every shard and in the order of delivery.
// Then is called in between, by the goroutine that calls Suppression, which may be
// changed there. Swap returns when it was called, or ctx's error: then Run may have
// ended, or still make the change.
func (p *Pipeline) Swap(ctx context.Context, rules Judge, then func()) error {
	sw := &swap{rules: rules, then: then, done: make(chan struct{})}
	select {
	case p.swapped() <- sw:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-sw.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
