package pipeline

import (
	"context"

	"tidewatch/event"
)

// LookBacker is a Population that can be asked for values that were met before.
type LookBacker interface {
	LookBack(values []event.Sought, dst []event.Observation) []event.Observation
}

// looking is a question on its way to dispatch.
type looking struct {
	values []event.Sought
	done   chan struct{} // closed when it was answered
}

// lookAtOnce is how many values are looked for between two sequences, so that nothing
// waits for long.
const lookAtOnce = 4096

// looked returns the channel of questions.
func (p *Pipeline) looked() chan *looking {
	p.looker.Do(func() { p.looks = make(chan *looking) })
	return p.looks
}

// LookBack asks the population for values, and lets the rules judge what it answers. It
// returns when it has asked for all of them, or ctx's error.
func (p *Pipeline) LookBack(ctx context.Context, values []event.Sought) error {
	for len(values) > 0 {
		n := min(len(values), lookAtOnce)
		l := &looking{values[:n], make(chan struct{})}
		select {
		case p.looked() <- l:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		values = values[n:]
	}
	return nil
}

// lookBack answers a question.
func (d *dispatch) lookBack(ctx context.Context, l *looking) bool {
	defer close(l.done)
	p, ok := d.Population.(LookBacker)
	if !ok {
		return true
	}
	told := p.LookBack(l.values, nil)
	return len(told) == 0 || d.send(ctx, item{told: told})
}
