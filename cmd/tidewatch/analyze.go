package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tidewatch/behavior"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/neighbour"
	"tidewatch/internal/pipeline"
	"tidewatch/outputs"
	"tidewatch/rules"
)

// analyzeOptions are the flags of analyze.
type analyzeOptions struct {
	output     string
	rules      []string
	local      []string
	since      string
	until      string
	failOn     string
	deadLetter string
	explain    int
	enrich     enrich.Config
	verbose    bool
}

func analyzeCommand(t terminal) *cobra.Command {
	var o analyzeOptions
	c := &cobra.Command{
		Use:   "analyze PATH...",
		Short: "Find what is wrong in old logs; no server needed",
		Long: `Analyze reads Zeek logs (TSV and JSON) and Suricata EVE logs, and prints what is
wrong in them and why. A PATH is a file, a folder (read with all its folders), a
pattern in quotes, or - for standard input. Files may be .gz or .zst, and of both
sensors; what a file is, its content says. A connection that both sensors report
counts once.`,
		Example: `  tidewatch analyze /opt/zeek/logs/2026-11-20
  tidewatch analyze --explain 1 /var/log/suricata/eve.json
  zcat old/*.gz | tidewatch analyze -o json - > findings.ndjson
  tidewatch analyze --fail-on high --local 203.0.113.0/24 logs/`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exit{exitUsage, fmt.Errorf("analyze needs the path of a log or of a folder of logs\nsee '%s --help'", c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return analyze(c.Context(), t, o, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "`form` of the findings: table, or json (ECS documents, one a line)")
	f.StringArrayVar(&o.rules, "rules", nil, "`folder` of rules (*.toml) beside the shipped ones; may be given again")
	f.StringArrayVar(&o.local, "local", nil, "own `network`, such as 203.0.113.0/24; may be given again (default: private networks)")
	f.StringArrayVar(&o.enrich.Networks, "networks", nil, "`file` of networks with names, which of them are inside, and in which VLANs; may be given again")
	f.StringArrayVar(&o.enrich.Assets, "assets", nil, "inventory of hosts, a `file` that ends in .csv, .toml or .json; may be given again")
	f.StringArrayVar(&o.enrich.Indicators, "indicators", nil, "threat intelligence, a `file or folder` of lists, CSV, STIX or MISP; may be given again")
	f.StringArrayVar(&o.enrich.Allowed, "allowed", nil, "`file or folder` of what is in --indicators and does not count")
	f.StringArrayVar(&o.enrich.Services, "services", nil, "`file` of networks that a provider publishes; may be given again")
	f.StringArrayVar(&o.enrich.Geo, "geo", nil, "`file` of a database of countries, cities or autonomous systems (.mmdb); may be given again")
	f.StringVar(&o.since, "since", "", "leave out records before this `time`: 2026-11-20, 2026-11-20T08:00, or with seconds and zone")
	f.StringVar(&o.until, "until", "", "leave out records from this `time` on")
	f.StringVar(&o.failOn, "fail-on", "", "exit with status 3 if a finding is at least this `severity`: low, medium, high or critical")
	f.IntVar(&o.explain, "explain", 0, "show the whole evidence of finding number `N` of the table")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show the whole evidence of each finding")
	f.StringVar(&o.deadLetter, "dead-letter", "", "keep refused lines in this `file`, at most 64 MiB of them")
	return c
}

// analysis is one run of analyze.
type analysis struct {
	term     terminal
	opts     analyzeOptions
	rules    *rules.Set
	merge    *ingest.Merge
	local    []netip.Prefix
	context  *enrich.Context
	failOn   event.Severity
	findings *findings
	watch    *watch // nil but for eval
	census   []*census
	joiner   *pipeline.Joiner
	started  time.Time

	explanation *rules.Explanation // nil but for rules explain
}

// heapSize is what the heap of an analysis is held to where that costs little: with what
// else the process needs it stays below 300 MB.
const heapSize = 200 << 20

func analyze(ctx context.Context, t terminal, o analyzeOptions, paths []string) error {
	defer neighbour.HoldHeap(heapSize)()
	a := &analysis{term: t, opts: o, started: time.Now()}
	if err := a.run(ctx, paths); err != nil {
		return err
	}
	out := a.findings.out
	if err := cmp.Or(a.report(out), out.Flush()); err != nil {
		return exit{exitError, fmt.Errorf("writing the findings: %w", err)}
	}
	if ctx.Err() != nil {
		return exit{exitStopped, errors.New("stopped before the end of the logs: what is above covers what was read")}
	}
	if a.merge.Stats().Records() == 0 {
		return exit{exitError, errors.New("no record was read: none of the paths holds a Zeek or Suricata log that tidewatch understands")}
	}
	if a.failOn != 0 && a.findings.worst >= a.failOn {
		return exit{status: exitFound}
	}
	return nil
}

// run reads the logs and collects the findings.
func (a *analysis) run(ctx context.Context, paths []string) error {
	opts, err := a.prepare()
	if err != nil {
		return exit{exitUsage, err}
	}
	if a.rules, err = loadRules(a.opts.rules); err != nil {
		return exit{exitError, err}
	}
	files, err := ingest.Discover(paths)
	if err != nil {
		return exit{exitError, err}
	}
	if a.opts.deadLetter != "" {
		f, err := os.OpenFile(a.opts.deadLetter, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return exit{exitError, err}
		}
		defer f.Close()
		opts.DeadLetter = f
	}
	bar := newProgress(a.term.err)
	opts.Warn = func(r ingest.Refusal) { bar.println(refusalLine(r)) }
	a.merge = ingest.NewMerge(files, opts)
	defer a.merge.Close()
	a.findings = newFindings(a.opts.output == "json", a.term.out)
	a.findings.watch = a.watch
	bar.start(a.merge.Stats)
	err = a.pipeline().Run(ctx)
	bar.stop()
	if err != nil {
		return exit{exitError, err}
	}
	return nil
}

// prepare checks the flags.
func (a *analysis) prepare() (o ingest.Options, err error) {
	if a.opts.output != "table" && a.opts.output != "json" {
		return o, fmt.Errorf("--output %q: allowed are table and json", a.opts.output)
	}
	if a.opts.failOn != "" {
		var ok bool
		if a.failOn, ok = event.ParseSeverity(a.opts.failOn); !ok {
			return o, fmt.Errorf("--fail-on %q: allowed are low, medium, high and critical", a.opts.failOn)
		}
	}
	for _, s := range a.opts.local {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return o, fmt.Errorf("--local %q: write a network such as 203.0.113.0/24 or 2001:db8::/32", s)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		a.local = append(a.local, p.Masked())
	}
	if o.Since, err = parseTime("--since", a.opts.since); err != nil {
		return o, err
	}
	if o.Until, err = parseTime("--until", a.opts.until); err != nil {
		return o, err
	}
	if o.Since != 0 && o.Until != 0 && o.Since >= o.Until {
		return o, fmt.Errorf("--since %s is not before --until %s", a.opts.since, a.opts.until)
	}
	if a.context, err = enrich.Open(enrich.NewZones(a.local), a.opts.enrich); err != nil {
		return o, err
	}
	for _, w := range a.context.Warnings() {
		fmt.Fprintln(a.term.err, "warning: "+outputs.Printable(w))
	}
	o.Enrich = a.context.Enrich
	return o, nil
}

// parseTime reads a time that a person typed, in the local zone if it names none.
// It returns Unix nanoseconds, 0 for "".
func parseTime(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, fmt.Errorf("%s %q: write it as 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00Z", flag, s)
}

// loadRules loads the shipped rules and those in the folders.
func loadRules(folders []string) (*rules.Set, error) {
	all := []fs.FS{rules.Builtin()}
	for _, dir := range folders {
		info, err := os.Stat(dir)
		if err != nil {
			return nil, fmt.Errorf("--rules: %w", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("--rules %s: not a folder", dir)
		}
		all = append(all, os.DirFS(dir))
	}
	return rules.Load(all...)
}

// pipeline wires the stages.
func (a *analysis) pipeline() *pipeline.Pipeline {
	e := newEngine(a.rules, a.context)
	a.joiner = e.joiner
	p := e.pipeline()
	p.Sources, p.Sink = []pipeline.Source{a.merge}, a.findings
	p.Grace, p.Finish = 10*time.Second, true
	for i, s := range e.shards {
		c := &census{Shard: s.Shard, i: i, n: len(e.shards), hosts: map[uint64]struct{}{}}
		a.census = append(a.census, c)
		p.Shards[i] = c
	}
	if a.explanation != nil {
		p.Rules = judge{a.context, e.devices, &explained{set: a.rules, of: a.explanation}}
		if a.explanation.Records() {
			p.Shards = append(p.Shards, explainedRecords{a.explanation})
		}
	}
	if a.watch != nil {
		a.watch.begin(a.rules)
		p.Shards = append(p.Shards, a.watch)
	}
	return p
}

// report prints what analyze has to say after the last record.
func (a *analysis) report(out *bufio.Writer) error {
	if err := a.findings.flush(); err != nil || a.opts.output == "json" {
		return err
	}
	fs := a.findings.sorted()
	o := outputs.TableOptions{Width: width(a.term.out), Color: color(a.term.out), Location: time.Local, Verbose: a.opts.verbose}
	if a.opts.explain > 0 {
		if a.opts.explain > len(fs) {
			return fmt.Errorf("--explain %d: there are %d findings", a.opts.explain, len(fs))
		}
		return outputs.WriteExplanation(out, a.opts.explain, &fs[a.opts.explain-1], o)
	}
	if err := outputs.WriteTable(out, fs, o); err != nil {
		return err
	}
	return a.summary(out, len(fs))
}

// findings collects what the pipeline finds. An episode that is reported again
// replaces its earlier report.
type findings struct {
	stream bool // write each finding as soon as its episode is closed
	out    *bufio.Writer
	json   *outputs.NDJSON
	watch  *watch // nil but for eval
	kept   []event.Finding
	index  map[string]int // of an open episode in kept
	worst  event.Severity
}

func newFindings(stream bool, w io.Writer) *findings {
	out := bufio.NewWriterSize(w, 1<<16)
	return &findings{stream: stream, out: out, json: outputs.NewNDJSON(out), index: map[string]int{}}
}

// Write takes findings in their final order.
func (c *findings) Write(ctx context.Context, fs []event.Finding) error {
	if c.watch != nil {
		c.watch.note(fs)
	}
	for _, f := range fs {
		c.worst = max(c.worst, f.Severity())
		key := f.Episode
		at, again := c.index[key]
		switch {
		case c.stream && !f.Open:
			if err := c.json.Write(ctx, []event.Finding{f}); err != nil {
				return err
			}
			if again {
				c.kept[at] = event.Finding{}
				delete(c.index, key)
			}
		case again:
			c.kept[at] = f
		default:
			c.index[key] = len(c.kept)
			c.kept = append(c.kept, f)
		}
	}
	return nil
}

// flush writes what is still open, if findings are streamed.
func (c *findings) flush() error {
	if !c.stream {
		return nil
	}
	open := slices.DeleteFunc(c.kept, func(f event.Finding) bool { return f.Rule == nil })
	return c.json.Write(context.Background(), open)
}

// sorted returns the findings, the worst first, then by time.
func (c *findings) sorted() []event.Finding {
	outputs.Sort(c.kept)
	return c.kept
}

// census is a shard that counts the hosts it owns.
type census struct {
	*behavior.Shard
	i, n  int
	last  [1024]uint64        // hashes that were counted or are not ours, by their lowest bits
	hosts map[uint64]struct{} // hashes of local addresses, at most censusSize
}

const censusSize = 100_000

// Observe counts local hosts before it gives the event to the shard.
func (c *census) Observe(ev *event.Event, dst []event.Observation) []event.Observation {
	c.count(&ev.Orig)
	c.count(&ev.Resp)
	return c.Shard.Observe(ev, dst)
}

func (c *census) count(h *event.Host) {
	last := &c.last[h.Hash%uint64(len(c.last))]
	if h.Scope != event.ScopeLocal || h.Hash == *last {
		return
	}
	*last = h.Hash
	if behavior.Owner(h.Hash, c.n) == c.i && len(c.hosts) < censusSize {
		c.hosts[h.Hash] = struct{}{}
	}
}

// width returns how many columns w shows; 0 if it is no terminal.
func width(w *os.File) int {
	if !term.IsTerminal(int(w.Fd())) {
		return 0
	}
	n, _, err := term.GetSize(int(w.Fd()))
	if err != nil {
		return 80
	}
	return n
}

// color reports whether w is a terminal whose user has not refused colours
// (https://no-color.org).
func color(w *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(w.Fd()))
}
