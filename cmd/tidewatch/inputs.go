package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"tidewatch/configs"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/pipeline"
)

// follower is a source that goes on where it was.
type follower interface {
	pipeline.Source
	Stats() ingest.Stats
	Sources() []ingest.SourceStats
	Close()
}

// openInputs follows what the configuration names. Lines of which no record can be made
// go to refused, unless it is nil.
func openInputs(cfg *configs.Config, enrich func(*event.Event), from []event.Position, refused io.Writer, log *slog.Logger) (*ingest.Follow, error) {
	var all []ingest.Input
	for _, name := range slices.Sorted(maps.Keys(cfg.Inputs)) {
		in := cfg.Inputs[name]
		some, err := in.Follow()
		if err != nil {
			return nil, fmt.Errorf("[input.%s]: %w", name, err)
		}
		all = append(all, some...)
	}
	f, err := ingest.NewFollow(all, ingest.FollowOptions{
		Enrich: enrich, Positions: from, DeadLetter: refused, Log: log,
		Warn: func(r ingest.Refusal) {
			log.Warn("a line is refused", "file", r.Path, "line", r.Line, "offset", r.Offset, "reason", r.Reason, "excerpt", r.Excerpt, "times", r.Count)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("[input]: %w", err)
	}
	return f, nil
}

// sensorTap notes the stats records of a source.
type sensorTap struct {
	pipeline.Source
	stats *sensorStats
}

// Committed tells the source what is kept, if it wants to know: lists and streams in Redis
// do.
func (t sensorTap) Committed(ctx context.Context, changed []event.Position) {
	if a, ok := t.Source.(pipeline.Acknowledger); ok {
		a.Committed(ctx, changed)
	}
}

// Fill fills s, and looks at the records' kinds.
func (t sensorTap) Fill(ctx context.Context, s *event.Sequence) error {
	err := t.Source.Fill(ctx, s)
	for _, ev := range s.Events {
		if ev.Kind == event.KindStats {
			t.stats.note(ev)
		}
	}
	return err
}
