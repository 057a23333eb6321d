package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"tidewatch/event"
	"tidewatch/internal/pipeline"
)

// generation judges everything, and says which rules it was.
type generation string

func (g generation) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	return append(dst, event.Finding{ID: o.Episode, Observation: *o, Rule: &event.RuleInfo{ID: string(g)}})
}

// ledger is a suppressor that writes down by which rules each finding was made, and
// when the rules were others.
type ledger struct {
	*quota
	rules string
	wrong []string
	n     map[string]int
}

func (l *ledger) Admit(f *event.Finding) bool {
	l.n[f.Rule.ID]++
	if f.Rule.ID != l.rules {
		l.wrong = append(l.wrong, fmt.Sprintf("%s by %s under %s", f.ID, f.Rule.ID, l.rules))
	}
	return true
}

// swapper is a source that asks for a swap from time to time, while it reads.
type swapper struct {
	pipeline.Source
	asked chan<- struct{}
	r     *rand.Rand
}

func (s *swapper) Fill(ctx context.Context, q *event.Sequence) error {
	if s.r.IntN(6) == 0 {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	return s.Source.Fill(ctx, q)
}

// TestSwap: every shard takes new rules at the same place, and delivery too.
func TestSwap(t *testing.T) {
	for shards := 1; shards <= 4; shards++ {
		logs, _ := makeLogs(rand.New(rand.NewPCG(uint64(shards), 3)), 2, 4000)
		w := newWorld()
		p := w.pipeline(logs, shards, 0)
		p.Store, p.Export = nil, nil
		l := &ledger{quota: newQuota(), rules: "generation 0", n: map[string]int{}}
		p.Rules, p.Suppression = generation(l.rules), l
		asked := make(chan struct{}, 1)
		for i := range p.Sources {
			p.Sources[i] = &swapper{p.Sources[i], asked, rand.New(rand.NewPCG(uint64(i), 4))}
		}
		ctx, ended := context.WithCancel(t.Context())
		swaps := make(chan int, 1)
		go func() {
			n := 0
			defer func() { swaps <- n }()
			for {
				select {
				case <-asked:
				case <-ctx.Done():
					return
				}
				next := fmt.Sprintf("generation %d", n+1)
				if err := p.Swap(ctx, generation(next), func() { l.rules = next }); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				n++
			}
		}()
		err := p.Run(t.Context())
		ended()
		if n := <-swaps; err != nil || n < 5 {
			t.Fatalf("%d shards: %d swaps, %v", shards, n, err)
		}
		if len(l.wrong) > 0 {
			t.Errorf("%d shards: %d findings at the wrong place, the first %s", shards, len(l.wrong), l.wrong[0])
		}
		if len(l.n) < 3 {
			t.Errorf("%d shards: findings by %v alone", shards, l.n)
		}
	}
}
