package eval

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// found returns a finding of one minute that begins so long after noon.
func found(detector, source string, after time.Duration, severity event.Severity) event.Finding {
	f := event.Finding{Rule: &event.RuleInfo{ID: detector + "-rule", Severity: severity}}
	f.Detector, f.Reason, f.Episode = detector, source+" did it", source+detector
	f.Start = noon.Add(after).UnixNano()
	f.End = f.Start + int64(time.Minute)
	f.Time = f.End
	if source != "" {
		f.Source.Addr = netip.MustParseAddr(source)
	}
	return f
}

func scanOf(id string, sources ...string) Instance {
	return Instance{ID: id, Detector: "scan", Variant: "horizontal", Difficulty: "easy", Sources: sources, Start: noon, End: noon.Add(time.Minute)}
}

func judge(truth Truth, fs ...event.Finding) *Report {
	r := NewReport("scan")
	r.Add(Case{Name: "day", Truth: truth, Findings: fs})
	return r
}

// What a finding is to one instance: f names the finding, and whether it finds the
// instance, is related to it, or false.
func TestVerdicts(t *testing.T) {
	in := scanOf("s", "10.0.0.1", "10.9.0.0/24")
	in.Destinations, in.Ports = []string{"10.1.0.0/16", "scan.example"}, []uint16{445}
	truth := Truth{
		Instances: []Instance{in, {ID: "b", Detector: "beacon", Sources: []string{"10.0.0.7"}, Start: noon, End: noon.Add(time.Hour)}},
		Benign:    []string{"10.0.0.2"}, Background: []string{"198.51.100.0/24"},
	}
	f := func(name, want string, change func(f *event.Finding)) {
		t.Helper()
		x := found("scan", "10.0.0.1", 0, event.SeverityHigh)
		change(&x)
		r := judge(truth, x)
		got := "neither"
		switch {
		case len(r.Missed) == 0:
			got = "found"
		case len(r.Related) == 1:
			got = "related"
		case len(r.False) == 1:
			got = "false"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	from := func(a string) func(*event.Finding) {
		return func(f *event.Finding) { f.Source.Addr = netip.MustParseAddr(a) }
	}
	at := func(a string) func(*event.Finding) {
		return func(f *event.Finding) { f.Source.Addr, f.Destination.Addr = netip.Addr{}, netip.MustParseAddr(a) }
	}
	f("the same source", "found", func(*event.Finding) {})
	f("a source in a network of the truth", "found", from("10.9.0.200"))
	f("somebody else", "false", from("10.0.0.3"))
	f("a benign host", "false", from("10.0.0.2"))
	f("background", "related", from("198.51.100.9"))
	f("what another kind of attack did", "related", from("10.0.0.7"))
	f("of another detector", "neither", func(f *event.Finding) { f.Detector = "beacon" })
	f("low", "found", func(f *event.Finding) { f.Rule.Severity = event.SeverityLow })
	f("low, somebody else", "neither", func(f *event.Finding) { f.Rule.Severity = event.SeverityLow; from("10.0.0.3")(f) })
	f("just before", "found", func(f *event.Finding) {
		f.Start, f.End = noon.Add(-time.Hour).UnixNano(), noon.Add(-time.Minute).UnixNano()
	})
	f("hours before", "false", func(f *event.Finding) {
		f.Start, f.End = noon.Add(-3*time.Hour).UnixNano(), noon.Add(-2*time.Hour).UnixNano()
	})
	f("hours after", "false", func(f *event.Finding) {
		f.Start, f.End = noon.Add(2*time.Hour).UnixNano(), noon.Add(3*time.Hour).UnixNano()
	})
	f("one target in the network", "found", func(f *event.Finding) { f.Destination.Addr = netip.MustParseAddr("10.1.2.3") })
	f("one target elsewhere", "related", func(f *event.Finding) { f.Destination.Addr = netip.MustParseAddr("10.2.2.3") })
	f("another port", "related", func(f *event.Finding) { f.Destination.Port, f.Destination.HasPort = 22, true })
	f("a name below", "found", func(f *event.Finding) { f.Query = "a.b.scan.example" })
	f("a name that only ends alike", "related", func(f *event.Finding) { f.Query = "noscan.example" })
	f("many sources, the target", "found", at("10.1.0.9"))
	f("many sources, another target", "false", at("10.2.0.9"))

	truth.Unlabelled = true
	f("unlabelled, somebody else", "neither", from("10.0.0.3"))
	f("unlabelled, a benign host", "false", from("10.0.0.2"))
}

// Time to detect is from the instance's start to the first report, whichever
// finding was reported last.
func TestDelay(t *testing.T) {
	truth := Truth{Instances: []Instance{scanOf("a", "10.0.0.1"), scanOf("b", "10.0.0.2")}, HostDays: 2}
	a, b := found("scan", "10.0.0.1", 0, event.SeverityHigh), found("scan", "10.0.0.2", 0, event.SeverityLow)
	early := a
	early.Time = noon.Add(4 * time.Second).UnixNano()
	early.Features = []event.Feature{event.Number("failed_contacts_at_detection", 7)}
	w := NewWitness(truth)
	for i := range 9 {
		w.Observe(connection("10.0.0.1", "10.1.0.1", 22, time.Duration(i)*time.Second))
	}
	r := NewReport("scan")
	r.Add(Case{Name: "day", Truth: truth, Findings: []event.Finding{a, b}, First: map[string]event.Finding{a.Episode: early}, Witness: w})
	got := *r.groups[group{"scan", "horizontal", "easy"}]
	want := tally{instances: 2, found: 2, medium: 1, delays: []float64{4, 60}, records: []float64{5, 0}, contacts: []float64{7}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(tally{})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// connection returns an answered connection that begins so long after noon.
func connection(from, to string, port uint16, after time.Duration) *event.Event {
	ev := &event.Event{Kind: event.KindConn, Proto: event.ProtoTCP, Outcome: event.OutcomeAnswered, Conn: new(event.Conn), Time: noon.Add(after).UnixNano()}
	ev.End = ev.Time
	ev.Orig.Addr, ev.Resp.Addr, ev.Resp.Port = netip.MustParseAddr(from), netip.MustParseAddr(to), port
	return ev
}

// What belongs to an instance: f names one record and whether it does.
func TestWitness(t *testing.T) {
	in := scanOf("s", "10.0.0.1", "10.9.0.0/24")
	in.Destinations, in.Ports = []string{"10.1.0.0/16", "192.0.2.7", "scan.example"}, []uint16{445, 53}
	anybody := Instance{ID: "d", Detector: "scan", Destinations: []string{"10.1.0.9"}}
	f := func(want int, change func(ev *event.Event)) {
		t.Helper()
		w := NewWitness(Truth{Instances: []Instance{in, anybody}})
		ev := connection("10.0.0.1", "10.1.2.3", 445, time.Second)
		change(ev)
		w.Observe(ev)
		if got := w.until(0, ev.Time); got != want || w.until(0, ev.Time-1) != 0 {
			t.Errorf("%d records, want %d", got, want)
		}
		if got := w.until(1, ev.Time); got != 0 && ev.Resp.Addr.String() != "10.1.0.9" {
			t.Errorf("%d records of the other instance", got)
		}
	}
	to := func(a string) func(*event.Event) {
		return func(ev *event.Event) { ev.Resp.Addr = netip.MustParseAddr(a) }
	}
	f(1, func(*event.Event) {})
	f(1, to("192.0.2.7"))
	f(0, to("192.0.2.8"))
	f(1, func(ev *event.Event) { to("192.0.2.8")(ev); ev.Known = &event.Known{Name: "a.scan.example"} })
	f(1, func(ev *event.Event) { ev.Orig.Addr = netip.MustParseAddr("10.9.0.77") })
	f(0, func(ev *event.Event) { ev.Orig.Addr = netip.MustParseAddr("10.9.1.77") })
	f(0, func(ev *event.Event) { ev.Resp.Port = 446 })
	f(0, func(ev *event.Event) { ev.Time += int64(time.Hour) })
	f(0, func(ev *event.Event) { ev.Kind = event.KindTLS })
	f(1, func(ev *event.Event) { ev.Kind, ev.DNS = event.KindDNS, new(event.DNS) })
	f(0, func(ev *event.Event) {
		ev.Kind, ev.DNS, ev.Sensor = event.KindDNS, &event.DNS{Response: true}, event.SensorSuricata
	})
	f(1, to("10.1.0.9"))
}

func TestWriteTable(t *testing.T) {
	in := scanOf("missed", "10.0.0.9")
	in.Difficulty = "hard"
	in.Start, in.End = noon.Add(25*time.Hour), noon.Add(26*time.Hour)
	truth := Truth{Instances: []Instance{scanOf("ok", "10.0.0.1"), in}, HostDays: 30}
	w := NewWitness(truth)
	w.Observe(connection("10.0.0.1", "10.1.0.1", 22, 0))
	w.Observe(connection("10.0.0.9", "10.1.0.1", 22, 26*time.Hour))
	r := NewReport("scan")
	r.Add(Case{Name: "day", Truth: truth, Witness: w, Findings: []event.Finding{
		found("scan", "10.0.0.1", 0, event.SeverityHigh), found("scan", "10.0.0.5", 25*time.Hour, event.SeverityMedium)}})
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"scan horizontal easy 1 1 1 1.00 60.0 60.0 1.0 1.0 - -", "scan horizontal hard 1 0 0 0.00 -", "scan all 2 1 1 0.50", "all 2 1 1 0.50",
		"scan 1 1 0.500 0.095 to 0.905 0.0333 0.0008 to 0.1857", "2 1 0.500 0.095 to 0.905",
		"1 1 1 1.000 0 0 - - 1 0 0.0000 0.0000 to 0.2000", "2 1 0 0.000 0 0 - - 0 1 0.0667 0.0017 to 0.3714",
		"0 findings are about something else", "missed: day: missed", "false: day: scan-rule: 10.0.0.5 did it",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table has no %q:\n%s", want, b.String())
		}
	}
}

// Days are compared by what began on each of them: of the two kinds here, one did.
func TestAlikeDays(t *testing.T) {
	truth := Truth{HostDays: 2}
	begins := func(id, difficulty string, after time.Duration) {
		in := scanOf(id, id)
		in.Difficulty, in.Start, in.End = difficulty, noon.Add(after), noon.Add(after+time.Minute)
		truth.Instances = append(truth.Instances, in)
	}
	begins("10.0.0.1", "easy", 0)
	begins("10.0.0.2", "easy", 25*time.Hour)
	begins("10.0.0.3", "easy", 25*time.Hour)
	begins("10.0.0.4", "hard", 0)
	w := NewWitness(truth)
	w.Observe(connection("10.0.0.1", "10.1.0.1", 22, 0))
	w.Observe(connection("10.0.0.1", "10.1.0.1", 22, 26*time.Hour))
	r := NewReport("scan")
	r.Add(Case{Name: "days", Truth: truth, Witness: w, Findings: []event.Finding{
		found("scan", "10.0.0.1", 0, event.SeverityHigh), found("scan", "10.0.0.3", 25*time.Hour, event.SeverityHigh)}})
	if d := cmp.Diff([]outcomes{{1, 1}, {2, 1}}, r.alike(), cmp.AllowUnexported(outcomes{})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// Intervals against published ones: Garwood's table, and Wilson's score.
func TestIntervals(t *testing.T) {
	near := func(got, want float64) bool { return math.Abs(got-want) < 0.005 }
	f := func(k int, low, high float64) {
		t.Helper()
		if l, h := poisson(k); !near(l, low) || !near(h, high) {
			t.Errorf("poisson(%d) = %.3f, %.3f, want %.3f, %.3f", k, l, h, low, high)
		}
	}
	f(0, 0, 3)
	f(1, 0.025, 5.572)
	f(2, 0.242, 7.225)
	f(10, 4.795, 18.390)
	f(100, 81.364, 121.627)
	if l, h := wilson(9, 10); !near(l, 0.596) || !near(h, 0.982) {
		t.Errorf("wilson(9, 10) = %.3f, %.3f", l, h)
	}
}

func TestTruthFile(t *testing.T) {
	in := scanOf("s", "10.0.0.1")
	in.Kind, in.Destinations, in.Ports, in.Records = "scan", []string{"10.1.0.0/16"}, []uint16{22, 445}, 9
	want := Truth{Local: []string{"203.0.113.0/24"}, Benign: []string{"10.0.0.2"}, Background: []string{"198.51.100.0/24"}, HostDays: 1.5, Unlabelled: true, Instances: []Instance{in}}
	path := filepath.Join(t.TempDir(), TruthFile)
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTruth(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-written +read:\n%s", d)
	}
	want.Instances = append(want.Instances, in)
	if err := want.Write(&b); err == nil {
		t.Error("two instances of one name were written")
	}
}

func TestTruthErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := ParseTruth(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
	f(`benig = ["10.0.0.1"]`, `unknown key "benig"`)
	f("[instance.a]\ndetector = \"scan\"\nsource = [\"10.0.0.1\"]", `unknown key "instance.a.source"`)
	f("[instance.a]\nsources = [\"10.0.0.1\"]", "instance a has no detector")
	f("[instance.a]\ndetector = \"scan\"", "neither sources nor destinations")
	f("[instance.a]\ndetector = \"scan\"\nsources = [\"10.0.0.1\"]\nstart = 2026-01-02T00:00:00Z\nend = 2026-01-01T00:00:00Z", "ends before it starts")
	f("benign = 1", "benign")
}

// The truth about the recorded captures can be read, and each of them is there.
func TestLabelled(t *testing.T) {
	truths, err := Labelled()
	if err != nil {
		t.Fatal(err)
	}
	scans := 0
	for path, truth := range truths {
		if _, err := os.Stat(shareddata.Path(t, "labelled/"+path)); err != nil {
			t.Error(err)
		}
		for _, in := range truth.Instances {
			if in.Detector == "scan" {
				scans++
			}
			if in.Start.IsZero() || in.End.IsZero() {
				t.Error(fmt.Sprint(path, ": ", in.ID, " has no time"))
			}
		}
	}
	if scans != 6 {
		t.Errorf("%d scans, want 6", scans)
	}
}
