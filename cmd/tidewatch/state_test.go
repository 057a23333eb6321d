package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidewatch/behavior"
	"tidewatch/behavior/disk"
	"tidewatch/behavior/population"
	"tidewatch/behavior/state"
	"tidewatch/enrich"
	"tidewatch/event"
	"tidewatch/ingest"
	"tidewatch/internal/pipeline"
	"tidewatch/rules"
)

// keep runs the logs of a folder through the pipeline, and leaves a store as a sidecar
// does that is stopped. It returns the findings.
func keep(t *testing.T, dir, logs string) []event.Finding {
	t.Helper()
	files, err := ingest.Discover([]string{logs})
	if err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	set, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	merge := ingest.NewMerge(files, ingest.Options{Enrich: enrich.NewZones(nil).Enrich})
	defer merge.Close()
	sink := newFindings(false, t.Output())
	said := rules.NewSuppression(set)
	p := &pipeline.Pipeline{
		Sources: []pipeline.Source{merge}, Rules: set, Suppression: said, Joiner: new(pipeline.Joiner),
		Population: population.New(population.DefaultConfig()), Sink: sink, Store: store, Interval: time.Hour, Grace: time.Minute,
	}
	p.Joiner.Track()
	for i := range 2 {
		s := behavior.NewShard(i, 2, set.Config())
		s.Track()
		p.Shards = append(p.Shards, s)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sink.kept
}

// records is all that a store holds.
func records(t *testing.T, dir string) (rs []state.Record) {
	t.Helper()
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Load(t.Context(), func(section state.Section, r state.Record) error {
		if section != state.Positions { // the names of files
			rs = append(rs, state.Record{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// tracesOf are the forms in which bytes say an address or a name.
func tracesOf(e state.Entity) (forms [][]byte) {
	both := func(h uint64) {
		forms = append(forms, binary.BigEndian.AppendUint64(nil, h), binary.LittleEndian.AppendUint64(nil, h))
	}
	if e.Name != "" {
		both(population.Hash(e.Name))
		return append(forms, []byte(e.Name))
	}
	b := e.Host.AsSlice()
	both(event.HashAddr(e.Host, 0, 0))
	return append(forms, []byte(e.Host.String()), append([]byte{byte(len(b))}, b...), append([]byte{0, 0, 0, 0}, b...))
}

// traced counts the records in which an entity can be seen.
func traced(rs []state.Record, e state.Entity) (n int) {
	for _, r := range rs {
		if slices.ContainsFunc(tracesOf(e), func(form []byte) bool { return bytes.Contains(r.Key, form) || bytes.Contains(r.Value, form) }) {
			n++
		}
	}
	return n
}

// Nothing is left of a host or a name that is forgotten: not in its own records, nor as
// the peer of others, nor in who uses what or what was said. Others are left alone.
func TestStateForget(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	fs := keep(t, dir, day)
	var entities []string
	for _, f := range fs {
		entities = append(entities, f.Source.Addr.String(), f.Destination.Addr.String())
		for _, a := range f.Related { // resolvers too
			entities = append(entities, a.String())
		}
		if f.Destination.Domain != "" {
			entities = append(entities, f.Destination.Domain)
		}
	}
	slices.Sort(entities)
	entities = slices.DeleteFunc(slices.Compact(entities), func(s string) bool { return s == "invalid IP" })
	if len(entities) < 6 {
		t.Fatalf("only %q to forget", entities)
	}
	forgotten := 0
	for i, text := range entities {
		e, err := state.ParseEntity(text)
		if err != nil {
			t.Fatal(err)
		}
		before := records(t, dir)
		if traced(before, e) == 0 {
			if i == 0 {
				t.Errorf("%s leaves no trace to begin with", text)
			}
			continue // gone with those that were forgotten before
		}
		if status, _, errs := tidewatch(t, "state", "show", "--store", dir, text); status != 0 {
			t.Errorf("%s: %s", text, errs)
		}
		forgotten++
		status, out, errs := tidewatch(t, "state", "forget", "--store", dir, text)
		if status != 0 || !strings.Contains(out, "is forgotten") {
			t.Errorf("%s: status %d: %s%s", text, status, out, errs)
		}
		after := records(t, dir)
		for _, r := range after {
			if traced([]state.Record{r}, e) > 0 {
				t.Errorf("%s can still be seen in a record of kind %q", text, r.Key[:1])
			}
		}
		if len(after) < len(before)/2 {
			t.Errorf("%s took %d of %d records with it", text, len(before)-len(after), len(before))
		}
		if status, out, _ := tidewatch(t, "state", "show", "--store", dir, text); status != 1 {
			t.Errorf("%s is still known:\n%s", text, out)
		}
	}
	if forgotten < 6 {
		t.Errorf("only %d were there to forget", forgotten)
	}
}

// What is shown and exported can be read, and no input gets to the terminal unescaped.
func TestStateShow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	fs := keep(t, dir, day)
	host := fs[0].Source.Addr
	for _, f := range fs {
		if f.Detector == "beacon" {
			host = f.Source.Addr
		}
	}
	status, out, errs := tidewatch(t, "state", "show", "--store", dir, host.String())
	if status != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{"hosts: " + host.String(), "since 20", "last seen 20", "active hours", "usually", "beacon: " + host.String() + " > ", "on a timer: every", "scan: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not shown:\n%.3000s", want, out)
		}
	}
	_, out, _ = tidewatch(t, "state", "export", "--store", dir, host.String())
	var x struct {
		Entity string
		Known  []struct {
			Detector, Subject, Since string
			Facts                    []struct {
				Name, Unit, Text string
				Value            any
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &x); err != nil || x.Entity != host.String() || len(x.Known) < 3 || len(x.Known[0].Facts) == 0 {
		t.Errorf("the export: %v\n%.2000s", err, out)
	}
}

// What an analyst accepts stays accepted in the store, and is shown.
func TestStateAccept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	done := map[string]bool{}
	for _, f := range keep(t, dir, day) {
		entity := f.Source.Addr.String()
		switch f.Detector {
		case "beacon", "exfiltration":
			entity += "->" + f.Destination.Addr.String()
			if f.Destination.Domain != "" {
				entity = f.Source.Addr.String() + ">" + f.Destination.Domain
			}
		case "dns_tunnel":
			entity += ">" + f.Query
		case "scan":
			if !f.Source.Addr.IsValid() {
				continue
			}
		default:
			continue
		}
		if done[f.Detector] || f.Detector == "exfiltration" && !f.Destination.Addr.IsValid() || f.Detector == "beacon" && f.Query != "" {
			continue
		}
		status, out, errs := tidewatch(t, "state", "accept", "--store", dir, entity, f.Detector)
		if status != 0 {
			t.Errorf("%s of %s: %s%s", f.Detector, entity, out, errs)
			continue
		}
		done[f.Detector] = true
		if _, out, _ = tidewatch(t, "state", "show", "--store", dir, entity); !strings.Contains(out, "accepted by an analyst on "+time.Now().UTC().Format("2006-01-02")) {
			t.Errorf("%s of %s: that it was accepted is not shown:\n%s", f.Detector, entity, out)
		}
	}
	for _, d := range []string{"beacon", "dns_tunnel", "exfiltration", "scan"} {
		if !done[d] {
			t.Errorf("nothing of %s was accepted", d)
		}
	}
}

func TestStateRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	keep(t, dir, day)
	f := func(want int, says string, args ...string) {
		t.Helper()
		status, out, errs := tidewatch(t, append([]string{"state"}, args...)...)
		if status != want || !strings.Contains(out+errs, says) {
			t.Errorf("state %q: status %d, want %d; want it to say %q, it says:\n%s%s", args, status, want, says, out, errs)
		}
	}
	f(2, "no entity: write an address", "show", "--store", dir, "10.0.0")
	f(2, "no entity", "show", "--store", dir, "a\x1b[2J b")
	f(1, "nowhere.toml", "show", "--config", "nowhere.toml", "10.0.0.5")
	f(2, "usage:", "show", "--store", dir)
	f(1, "nothing is known of 192.0.2.99", "show", "--store", dir, "192.0.2.99")
	f(1, `nothing is known of a\x1b[2j.example`, "show", "--store", dir, "a\x1b[2J.example")
	f(1, "nothing is known of", "forget", "--store", dir, "192.0.2.99")
	f(2, "not a pair", "forget", "--store", dir, "10.0.0.5->192.0.2.1")
	f(2, "no detector", "accept", "--store", dir, "10.0.0.5", "magic")
	f(2, "takes a pair", "accept", "--store", dir, "10.0.0.5", "beacon")
	f(2, "takes a host", "accept", "--store", dir, "10.0.0.5->192.0.2.1", "scan")
	f(1, "nothing of 192.0.2.99 to accept", "accept", "--store", dir, "192.0.2.99", "scan")
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f(1, "stop the sidecar", "show", "--store", dir, "10.0.0.5")
	s.Close()
}
