package eval

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidewatch/event"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func scanBy(source string, after time.Duration, severity event.Severity) event.Finding {
	at := noon.Add(after).UnixNano()
	f := event.Finding{Rule: &event.RuleInfo{ID: "scan-internal", Severity: severity}}
	f.Detector, f.Episode, f.Start, f.End, f.Time = "scan", source, at, at+60e9, at+5e9
	if source != "" {
		f.Source.Addr = netip.MustParseAddr(source)
	} else {
		f.Destination.Addr = netip.MustParseAddr("10.0.0.80")
	}
	f.Features = []event.Feature{event.Number("failed_contacts_at_detection", 7)}
	return f
}

func instance(id, detector, source string) Instance {
	in := Instance{ID: id, Detector: detector, Variant: "horizontal", Difficulty: "easy", Start: noon, End: noon.Add(time.Minute), Records: 10}
	if source != "" {
		in.Sources = []string{source}
	} else {
		in.Destinations = []string{"10.0.0.80"}
	}
	return in
}

func TestReport(t *testing.T) {
	r := NewReport("scan")
	r.Add(Case{
		Name: "case",
		Truth: Truth{
			HostDays: 10,
			Benign:   []string{"10.0.0.9"},
			Instances: []Instance{
				instance("found", "scan", "10.0.0.1"), instance("missed", "scan", "10.0.0.2"),
				instance("too-late", "scan", "10.0.0.3"), instance("many-sources", "scan", ""),
				instance("other", "brute_force", "10.0.0.4"),
			},
		},
		Findings: []event.Finding{
			scanBy("10.0.0.1", 2*time.Second, event.SeverityHigh),
			scanBy("10.0.0.3", 2*time.Hour, event.SeverityHigh),   // another time: false
			scanBy("", time.Second, event.SeverityLow),            // a low one is not judged false
			scanBy("10.0.0.4", time.Second, event.SeverityMedium), // explained by what another detector should find
			scanBy("10.0.0.9", time.Second, event.SeverityHigh),   // benign: false
			scanBy("10.0.0.8", time.Second, event.SeverityLow),
		},
		Detected: map[string]int64{"10.0.0.1": noon.Add(3 * time.Second).UnixNano()},
	})
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"scan  horizontal        easy          4      2    0.50                 6.0                     7.0",
		"2 true, 2 false; precision 0.500",
		"a host-day: 0.2000 (95 %: at most 0.6",
		"missed: case: missed\n", "missed: case: too-late\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, b.String())
		}
	}
}

// Where not all that is true is listed, only findings about harmless hosts are false.
func TestUnlabelled(t *testing.T) {
	r := NewReport("scan")
	r.Add(Case{Truth: Truth{Unlabelled: true, Benign: []string{"10.0.0.9"}}, Findings: []event.Finding{
		scanBy("10.0.0.1", 0, event.SeverityHigh), scanBy("10.0.0.9", 0, event.SeverityHigh),
	}})
	if len(r.False) != 1 || !strings.Contains(r.False[0], "scan-internal") {
		t.Errorf("false findings: %v", r.False)
	}
}

func TestIntervals(t *testing.T) {
	if low, high := wilson(10, 10); low < 0.71 || low > 0.73 || high != 1 {
		t.Errorf("10 of 10: %.3f to %.3f", low, high)
	}
	if h := poissonHigh(0); h != 3 {
		t.Errorf("none seen: at most %.2f", h)
	}
	if h := poissonHigh(2); h < 6.1 || h > 6.5 { // exact: 6.30
		t.Errorf("two seen: at most %.2f", h)
	}
}

func TestReadTruth(t *testing.T) {
	f := func(content, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), TruthFile)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadTruth(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", content, err, want)
		}
	}
	f("host_days = 1.0\n", "")
	f("host_day = 1.0\n", `unknown key "host_day"`)
	f("[[instance]]\nid = \"x\"\n", "instance 1 has no id")
	f("[[instance]\n", "truth.toml")
}

func TestLabelled(t *testing.T) {
	truths, err := Labelled()
	if err != nil {
		t.Fatal(err)
	}
	if len(truths["scan/nmap-conn.log.gz"].Instances) != 1 || !truths["internet-server"].Unlabelled {
		t.Errorf("the built-in truth: %+v", truths)
	}
}
