package synth

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	godiff "github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/eval"
	"tidewatch/parsers"
	"tidewatch/parsers/suricata"
	"tidewatch/parsers/zeek"
)

// example are the options of the sample day that the repository ships.
var example = Options{Seed: 20, Days: 1, Hosts: 20, Activity: 0.1, Attacks: "story", Gzip: true}

func write(t *testing.T, o Options, formats ...string) (dir string, truth eval.Truth) {
	t.Helper()
	dir = t.TempDir()
	n := New(o)
	if err := n.Write(dir, formats, nil); err != nil {
		t.Fatal(err)
	}
	return dir, n.Truth()
}

// read returns a file, unpacked. Other versions of Go may pack otherwise.
func read(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return b, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// The sample day of the repository is what the generator writes, and small.
func TestExampleDay(t *testing.T) {
	const shipped = "../../examples/day"
	dir, _ := write(t, example, FormatZeek, FormatEVE)
	size := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		made, err := read(path)
		if err != nil {
			return err
		}
		there, err := read(filepath.Join(shipped, rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(made, there) {
			t.Errorf("examples/day/%s is not what the generator writes", rel)
		}
		info, err := os.Stat(filepath.Join(shipped, rel))
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if size >= 2_000_000 {
		t.Errorf("the sample day has %d bytes", size)
	}
}

// records parses a log, and fails on a refused line.
func records(t *testing.T, path string, p parsers.Parser) (evs []event.Event) {
	t.Helper()
	data, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		b := event.NewBatch(nil, 1, 4<<10)
		ev, own := b.Add(line)
		switch err := p.Parse(b, ev, own); err {
		case nil:
			evs = append(evs, *ev)
		case parsers.ErrMeta:
		default:
			t.Fatalf("%s:%d: %v: %s", filepath.Base(path), i+1, err, line)
		}
	}
	return evs
}

// sensors are the ways to write a network, and what reads them.
func sensors() []struct {
	format string
	logs   []string
	parser func() parsers.Parser
} {
	zeekLogs := []string{"conn.log", "dns.log", "ssl.log", "http.log"}
	return []struct {
		format string
		logs   []string
		parser func() parsers.Parser
	}{
		{FormatZeek, zeekLogs, func() parsers.Parser { return zeek.NewTSV(parsers.Options{}) }},
		{FormatZeekJSON, zeekLogs, func() parsers.Parser { return zeek.NewJSON(parsers.Options{}) }},
		{FormatEVE, []string{"eve.json"}, func() parsers.Parser { return suricata.New(parsers.Options{}) }},
	}
}

// said is what all sensors say of a record. Of backscatter they disagree on who
// began.
func said(ev *event.Event) string {
	a, b := netip.AddrPortFrom(ev.Orig.Addr, ev.Orig.Port), netip.AddrPortFrom(ev.Resp.Addr, ev.Resp.Port)
	if ev.Outcome == event.OutcomeUnknown && ev.Kind == event.KindConn && a.Compare(b) > 0 {
		a, b = b, a
	}
	switch ev.Kind {
	case event.KindConn:
		orig, resp := ev.Conn.OrigPkts, ev.Conn.RespPkts
		if ev.Outcome == event.OutcomeUnknown {
			orig, resp = max(orig, resp), min(orig, resp)
		}
		return fmt.Sprint("conn ", ev.Time, ev.End, a, b, ev.Proto, ev.Outcome, orig, resp)
	case event.KindDNS:
		return fmt.Sprint("dns ", a, b, ev.DNS.TransID, ev.DNS.Query, ev.DNS.QTypeName)
	case event.KindTLS:
		return fmt.Sprint("tls ", a, b, ev.TLS.ServerName)
	case event.KindQUIC: // Zeek's words for it
		return fmt.Sprint("tls ", a, b, ev.TLS.ServerName)
	case event.KindHTTP:
		return fmt.Sprint("http ", a, b, ev.HTTP.Method, ev.HTTP.Host, ev.HTTP.URI, ev.HTTP.Status)
	}
	return ev.Kind.String()
}

// Each line of each log parses, and both sensors and both of Zeek's formats tell of
// the same transactions with the same outcomes.
func TestSensorsAgree(t *testing.T) {
	dir, _ := write(t, Options{Seed: 5, Hosts: 8, Activity: 0.3, Attacks: "scan,dga"}, FormatZeek, FormatZeekJSON, FormatEVE)
	var first []string
	for _, s := range sensors() {
		var all []string
		for _, log := range s.logs {
			for _, ev := range records(t, filepath.Join(dir, s.format, log), s.parser()) {
				if ev.Kind == event.KindDNS && ev.DNS.Response {
					continue // EVE says the question and its answer apart
				}
				all = append(all, said(&ev))
			}
		}
		slices.Sort(all)
		if len(all) < 20_000 {
			t.Errorf("%s: only %d records", s.format, len(all))
		}
		if first == nil {
			first = all
			continue
		}
		for i := range max(len(all), len(first)) {
			if i >= len(all) || i >= len(first) || all[i] != first[i] {
				t.Fatalf("%s: %d records, zeek has %d; the first that differs:\n%s\n%s", s.format, len(all), len(first), all[min(i, len(all)-1)], first[min(i, len(first)-1)])
			}
		}
	}
}

// Lines come in the order in which the sensor writes them, and none after the end.
func TestWriteOrder(t *testing.T) {
	o := Options{Seed: 9, Hosts: 5, Days: 2, Activity: 0.2, Attacks: "story"}
	dir, _ := write(t, o, FormatZeek, FormatZeekJSON, FormatEVE)
	end := New(o).end
	for _, s := range sensors() {
		for _, log := range s.logs {
			last := int64(0)
			for _, ev := range records(t, filepath.Join(dir, s.format, log), s.parser()) {
				at := ev.Written
				if s.format == FormatZeek { // it does not say when it was written
					at = min(ev.End, end)
					if ev.Kind == event.KindConn {
						wait := int64(time.Minute)
						if ev.Proto == event.ProtoTCP {
							wait = int64(5 * time.Second)
						}
						at = min(ev.End+wait, end)
					} else if ev.Kind == event.KindHTTP || ev.Kind == event.KindDNS && !ev.Has(event.DNSRTT) {
						continue
					}
				}
				if at < last && ev.Kind != event.KindTLS || at > end {
					t.Fatalf("%s/%s: written at %d after %d; the end is %d", s.format, log, at, last, end)
				}
				last = max(last, at)
			}
		}
	}
}

// Each attack of the grid is in the truth, in three difficulties, with as many
// records as it claims, each by one of its sources, to one of its destinations, in
// its time, and in the log.
func TestTruth(t *testing.T) {
	f := func(o Options, without string) {
		t.Helper()
		dir, truth := write(t, o, FormatZeek)
		fromFile, err := eval.ReadTruth(filepath.Join(dir, eval.TruthFile))
		if err != nil {
			t.Fatal(err)
		}
		if d := godiff.Diff(truth, fromFile); d != "" {
			t.Errorf("the truth file (-made +read):\n%s", d)
		}
		byID := map[string]eval.Instance{}
		for _, in := range truth.Instances {
			byID[in.ID] = in
		}
		count := attackRecords(t, o, filepath.Join(dir, "conn.log"), byID)
		for _, k := range kinds {
			if o.Attacks != "grid" && o.Attacks != k.kind {
				continue
			}
			for _, v := range k.variants {
				for _, level := range levels {
					in, ok := byID[k.kind+"-"+v.name+"-"+level]
					if v.name == without {
						if ok {
							t.Errorf("%s: too few days for it", in.ID)
						}
					} else if in.Records != count[in.ID] || in.Records == 0 {
						t.Errorf("%s-%s-%s: %d records, claims %d", k.kind, v.name, level, count[in.ID], in.Records)
					}
				}
			}
		}
	}
	f(Options{Seed: 6, Hosts: 3, Activity: 0.02, Attacks: "grid"}, "name-24h")
	f(Options{Seed: 6, Hosts: 3, Days: 4, Activity: 0.02, Attacks: "beacon"}, "")
}

// Over as many seeds as days, each attack begins once on each day, unless it goes on
// for more than one: then it begins on the first.
func TestDaysOfAttacks(t *testing.T) {
	const days = 3
	began := map[string][]int{}
	for seed := range uint64(days) {
		o := Options{Seed: seed, Hosts: 1, Days: days, Activity: 0.02, Attacks: "scan"}
		n := New(o)
		if err := n.Hours(func([]*Flow) error { return nil }); err != nil {
			t.Fatal(err)
		}
		for _, in := range n.Truth().Instances {
			began[in.ID] = append(began[in.ID], int((in.Start.UnixNano()-n.start)/dayNs))
		}
	}
	if len(began) != len(scanVariants)*len(levels) {
		t.Errorf("%d attacks", len(began))
	}
	for id, on := range began {
		want := []int{0, 1, 2}
		if strings.HasPrefix(id, "scan-slow-") {
			want = []int{0, 0, 0}
		}
		slices.Sort(on)
		if !slices.Equal(on, want) {
			t.Errorf("%s begins on days %v, want %v", id, on, want)
		}
	}
}

// attackRecords counts the records of each instance, and fails if one is not what
// the truth says, or not in the log.
func attackRecords(t *testing.T, o Options, log string, truth map[string]eval.Instance) map[string]int {
	t.Helper()
	logged := map[string]bool{}
	for _, ev := range records(t, log, zeek.NewTSV(parsers.Options{})) {
		logged[ev.UID] = true
	}
	count := map[string]int{}
	err := New(o).Hours(func(flows []*Flow) error {
		for _, f := range flows {
			if f.attack == nil {
				continue
			}
			in := truth[f.attack.ID]
			count[in.ID]++
			if why := wrong(f, &in); why != "" {
				return fmt.Errorf("%s: a record with %s: %v to %v", in.ID, why, f.Orig, f.Resp)
			}
			if !logged[string(f.uid(nil))] {
				return fmt.Errorf("%s: a record is not in the log: %v to %v", in.ID, f.Orig, f.Resp)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// wrong says what of a flow is not as the truth has it.
func wrong(f *Flow, in *eval.Instance) string {
	matches := func(texts []string, a netip.Addr) bool {
		return slices.ContainsFunc(texts, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Contains(a) || s == a.String()
		})
	}
	name := ""
	if f.TLS != nil {
		name = f.TLS.ServerName
	}
	if len(f.DNS) > 0 {
		name = f.DNS[0].Query
	}
	switch {
	case !matches(in.Sources, f.Orig.Addr()):
		return "another source"
	case f.Start < in.Start.UnixNano() || f.End() > in.End.UnixNano():
		return "another time"
	case len(in.Ports) > 0 && !slices.Contains(in.Ports, f.Resp.Port()):
		return "another port"
	case in.Kind != "dga" && !matches(in.Destinations, f.Resp.Addr()) && !slices.ContainsFunc(in.Destinations, func(d string) bool { return strings.HasSuffix(name, d) }):
		return "another destination"
	}
	return ""
}

// Attackers and background are not among the harmless hosts.
func TestBenign(t *testing.T) {
	n := New(Options{Seed: 2, Hosts: 5, Attacks: "grid"})
	if err := n.Hours(func([]*Flow) error { return nil }); err != nil {
		t.Fatal(err)
	}
	truth := n.Truth()
	for _, in := range truth.Instances {
		for _, s := range in.Sources {
			if slices.Contains(truth.Benign, s) {
				t.Errorf("%s: its source %s is called harmless", in.ID, s)
			}
		}
	}
	if want := float64(5 + len(servers)); truth.HostDays != want {
		t.Errorf("%v harmless host-days, want %v", truth.HostDays, want)
	}
}

// The same options give the same bytes, another seed gives others.
func TestDeterminism(t *testing.T) {
	o := Options{Seed: 7, Hosts: 10, Activity: 0.1, Attacks: "story", Gzip: true}
	day := func(o Options) string {
		dir, _ := write(t, o, FormatEVE)
		b, err := os.ReadFile(filepath.Join(dir, "eve.json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := day(o)
	if a != day(o) {
		t.Error("two days of the same seed differ")
	}
	o.Seed = 8
	if a == day(o) {
		t.Error("two seeds give the same day")
	}
}

func TestActivityFor(t *testing.T) {
	o := Options{Seed: 1, Hosts: 50, Attacks: "scan"}
	f := func(want int, logs ...string) {
		t.Helper()
		a, err := ActivityFor(o, want, logs...)
		if err != nil {
			t.Fatal(err)
		}
		o, got := o, 0
		o.Activity = a
		err = New(o).Hours(func(flows []*Flow) error {
			for _, f := range flows {
				got += f.records(logs)
			}
			return nil
		})
		if err != nil || got < want*93/100 || got > want*107/100 {
			t.Errorf("%d records, wanted %d; %v", got, want, err)
		}
	}
	f(200_000)
	f(150_000, "conn", "dns", "ssl")
	if _, err := ActivityFor(o, 1000); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("1000 records: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	f := func(attacks, format, want string) {
		t.Helper()
		err := New(Options{Hosts: 2, Attacks: attacks}).Write(t.TempDir(), []string{format}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("attacks %q, format %q: %v, want %q", attacks, format, err, want)
		}
	}
	f("gird", FormatZeek, `attacks "gird"`)
	f("scan,", FormatZeek, `attacks ""`)
	f("scan", "csv", `format "csv"`)
}

// A connection that outlasts the days is cut, and what was said after is not said.
func TestCut(t *testing.T) {
	f := Flow{
		Start: 1000, Duration: 10e9, Proto: event.ProtoTCP, State: event.StateSF, OrigPkts: 100, RespPkts: 200, OrigData: 5000, RespData: 7000,
		Orig: netip.MustParseAddrPort("10.0.0.1:50000"), Resp: netip.MustParseAddrPort("198.18.0.1:80"),
		HTTP: []HTTP{{At: 1e9, Took: 1e9}, {At: 4e9, Took: 2e9}},
	}
	f.cut(5e9)
	if f.End() > 5e9 || f.State != event.StateS1 || f.OrigData >= 2600 || len(f.HTTP) != 1 {
		t.Errorf("cut: %+v", f)
	}
	whole := f
	f.cut(6e9)
	if cmp.Compare(f.Duration, whole.Duration) != 0 {
		t.Errorf("cut although it had ended: %+v", f)
	}
}
