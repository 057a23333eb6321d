// Package ruletest runs the scenarios of rules: logs and what is to be found in them,
// in one file that anybody can write. The logs go through the real parsers, detectors
// and suppression.
//
// A scenario is a txtar archive. Above the first file stands what it is about. Its
// files are logs, NAME/ANYTHING, and for each NAME what is wanted, NAME.want:
//
//	Failed log-ins from one host.
//	-- fires/ssh.log --
//	{"ts":...}
//	-- fires.want --
//	ssh-failures: medium 10.0.0.5 -> 10.0.0.9: 10 records in ...
//	-- silent/ssh.log --
//	...
//	-- silent.want --
//
// Times of logs may be relative: {{+1h}} stands for the Unix seconds of the
// scenario's begin, Monday 2026-01-05 08:00 UTC, and one hour. A line that begins with
// `#repeat N EVERY` stands for the next line N times, EVERY apart, with {{n}} counting
// from 0.
package ruletest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"tidewatch/behavior"
	"tidewatch/behavior/population"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/pipeline"
	"tidewatch/rules"
)

// Begin is when scenarios begin.
var Begin = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// shards is how many shards find what is wanted; the number must not matter.
const shards = 3

// Outcome is one set of logs with what was wanted and what was found.
type Outcome struct {
	Name      string
	Want, Got string
	Findings  []event.Finding
}

// Run runs all logs of a scenario. It returns an outcome for each name, in order.
func Run(ctx context.Context, set *rules.Set, a *txtar.Archive) ([]Outcome, error) {
	var names []string
	logs, want := map[string][]txtar.File{}, map[string]string{}
	for _, f := range a.Files {
		if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
			want[name] = string(f.Data)
			continue
		}
		name, _, _ := strings.Cut(f.Name, "/")
		if !filepath.IsLocal(f.Name) {
			return nil, fmt.Errorf("%s: not a name for a log", f.Name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		logs[name] = append(logs[name], f)
	}
	if len(names) == 0 {
		return nil, errors.New("there are no logs in it")
	}
	var all []Outcome
	for _, name := range names {
		found, err := find(ctx, set, logs[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, Outcome{Name: name, Want: want[name], Got: Told(found), Findings: found})
	}
	return all, nil
}

// Told writes findings the way scenarios want them: rule, severity, whose, and why.
func Told(fs []event.Finding) string {
	var b strings.Builder
	for i := range fs {
		f := &fs[i]
		fmt.Fprintf(&b, "%s: %s %s\n", f.Rule.ID, f.Severity(), strconv.AppendQuote(nil, f.Reason)[1:len(strconv.Quote(f.Reason))-1])
	}
	return b.String()
}

// find analyzes logs.
func find(ctx context.Context, set *rules.Set, logs []txtar.File) ([]event.Finding, error) {
	dir, err := os.MkdirTemp("", "tidewatch-scenario-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	known := enrich.DefaultConfig()
	for _, f := range logs {
		data, err := expand(f.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if path.Base(f.Name) == "indicators.txt" { // no log, but a list
			name = filepath.Join(dir, ".lists", filepath.FromSlash(f.Name))
			known.Indicators = append(known.Indicators, name)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return nil, err
		}
	}
	files, err := ingest.Discover([]string{dir})
	if err != nil {
		return nil, err
	}
	context, err := enrich.Open(enrich.NewZones(nil), known)
	if err != nil {
		return nil, err
	}
	var refused []string
	merge := ingest.NewMerge(files, ingest.Options{
		Enrich: context.Enrich,
		Warn:   func(r ingest.Refusal) { refused = append(refused, fmt.Sprintf("line %d: %s", r.Line, r.Reason)) },
	})
	defer merge.Close()
	sink := &collected{index: map[string]int{}}
	cfg := set.Config()
	p := &pipeline.Pipeline{
		Sources: []pipeline.Source{merge}, Rules: explained{context, set}, Suppression: rules.NewSuppression(set), Joiner: new(pipeline.Joiner), Sink: sink,
		Population: population.New(cfg.PopulationConfig()), Grace: time.Minute, Finish: true,
	}
	for i := range shards {
		p.Shards = append(p.Shards, behavior.NewShard(i, shards, set.Config()))
	}
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("refused: %s", strings.Join(refused, "; "))
	}
	return sink.found, nil
}

// explained fills in what is known of an observation's ends before the rules see it.
type explained struct {
	context *enrich.Context
	rules   *rules.Set
}

func (x explained) Judge(o *event.Observation, dst []event.Finding) []event.Finding {
	x.context.Explain(o)
	return x.rules.Judge(o, dst)
}

// collected keeps the last report on each episode.
type collected struct {
	found []event.Finding
	index map[string]int
}

func (c *collected) Write(_ context.Context, fs []event.Finding) error {
	for _, f := range fs {
		key := f.Rule.ID + "\x00" + f.Episode
		if at, again := c.index[key]; again {
			c.found[at] = f
			continue
		}
		c.index[key] = len(c.found)
		c.found = append(c.found, f)
	}
	return nil
}

var (
	repeated = regexp.MustCompile(`^#repeat (\d+) (\S+)$`)
	relative = regexp.MustCompile(`\{\{([+-][^{}]*|n|time [^{}]*)\}\}`)
)

// maxRepeats bounds the lines that one line stands for.
const maxRepeats = 100_000

// expand writes out the times and repetitions of a log.
func expand(log []byte) ([]byte, error) {
	var out bytes.Buffer
	times, every := 1, time.Duration(0)
	for line := range strings.Lines(string(log)) {
		if m := repeated.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			n, err := strconv.Atoi(m[1])
			d, err2 := time.ParseDuration(m[2])
			if err != nil || err2 != nil || n > maxRepeats {
				return nil, fmt.Errorf("%s: wanted is #repeat N EVERY, such as #repeat 20 30s", strings.TrimSpace(line))
			}
			times, every = n, d
			continue
		}
		for i := range times {
			var bad error
			out.WriteString(relative.ReplaceAllStringFunc(line, func(s string) string {
				text, err := moment(strings.Trim(s, "{}"), i, every)
				if err != nil {
					bad = err
				}
				return text
			}))
			if bad != nil {
				return nil, bad
			}
		}
		times, every = 1, 0
	}
	return out.Bytes(), nil
}

// moment writes a time of the i-th repetition, or i itself.
func moment(s string, i int, every time.Duration) (string, error) {
	if s == "n" {
		return strconv.Itoa(i), nil
	}
	offset, eve := strings.CutPrefix(s, "time ")
	d, err := time.ParseDuration(offset)
	if err != nil {
		return "", fmt.Errorf("{{%s}}: wanted is a time such as {{+90s}}, or {{time +90s}} for EVE", s)
	}
	at := Begin.Add(d + time.Duration(i)*every)
	if eve {
		return at.Format("2006-01-02T15:04:05.000000-0700"), nil
	}
	return fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000), nil
}
