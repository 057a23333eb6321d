package enrich

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameAddr compares addresses, which are comparable.
var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// An asset that has several addresses, and nothing else, is one host.
func TestEntityOfAsset(t *testing.T) {
	path := write(t, "a.csv", "address,name\n10.0.0.5 fd00::5,files1\n10.0.0.6,one\n10.0.0.7 10.1.0.0/16,net\n10.0.0.8 10.0.0.9,\n")
	v, err := ReadInventory([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"10.0.0.5": "10.0.0.5", "fd00::5": "10.0.0.5", "10.0.0.6": "invalid IP", "10.0.0.7": "invalid IP", "10.0.0.9": "invalid IP"} {
		if got := v.Lookup(netip.MustParseAddr(addr), 0).Entity.String(); got != want {
			t.Errorf("%s is known as %s, want %s", addr, got, want)
		}
	}
}

// The three forms say the same.
func TestInventoryForms(t *testing.T) {
	f := func(name, text string) {
		t.Helper()
		v, err := ReadInventory([]string{write(t, name, text)})
		if err != nil {
			t.Fatal(err)
		}
		want := &event.Asset{Name: "scan1", Owner: "security", Role: event.RoleScanner, Criticality: event.CriticalityHigh}
		for _, a := range []string{"10.0.0.5", "10.1.255.255", "10.2.0.3", "10.2.0.9", "2001:db8::7"} {
			if d := cmp.Diff(want, v.Lookup(netip.MustParseAddr(a), 0), sameAddr); d != "" {
				t.Errorf("%s: %s: %s", name, a, d)
			}
		}
		for _, a := range []string{"10.0.0.6", "10.2.0.2", "10.2.0.10", "2001:db9::"} {
			if got := v.Lookup(netip.MustParseAddr(a), 0); got != nil {
				t.Errorf("%s: %s is %v", name, a, got)
			}
		}
		if d := cmp.Diff(want, v.hardware[[6]byte{0, 0, 0x5e, 0, 0x53, 0x23}], sameAddr); d != "" {
			t.Errorf("%s: by hardware address: %s", name, d)
		}
	}
	f("a.csv", "\ufeffname,address,mac,owner,role,criticality\n# the scanner\nscan1,10.0.0.5 10.1.0.0/16;10.2.0.3 - 10.2.0.9|2001:db8::/32,00:00:5E:00:53:23,security,Scanner,high\n")
	f("a.toml", `[asset.scan1]
addresses = ["10.0.0.5", "10.1.0.0/16", "10.2.0.3-10.2.0.9", "2001:db8::/32"]
macs = ["00-00-5e-00-53-23"]
owner = "security"
role = "scanner"
criticality = "high"
`)
	f("a.json", `[{"name": "scan1", "addresses": ["10.0.0.5", "10.1.0.0/16", "10.2.0.3-10.2.0.9"], "address": "2001:db8::/32",
 "mac": "00:00:5e:00:53:23", "owner": "security", "role": "scanner", "criticality": "high"}]`)
}

// What is wrong is said with its line, and all of it at once.
func TestInventoryErrors(t *testing.T) {
	f := func(name, text string, want ...string) {
		t.Helper()
		_, err := ReadInventory([]string{write(t, name, text)})
		if err == nil {
			t.Errorf("%s: %q: no error", name, text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in:\n%v", name, w, err)
			}
		}
	}
	f("a.csv", "address,role\n10.0.0.5,skanner\n10.0.0.6,server\n10.0.0.700,server\n", "a.csv:2", `"scanner"`, "allowed: scanner, monitoring", "a.csv:4", "10.0.0.700")
	f("a.csv", "address,roll\n", "a.csv:1", `"role"`)
	f("a.csv", "name,role\nx,server\n", "no column says which hosts")
	f("a.csv", "address,name\n10.0.0.1,a\n10.0.0.1,b\n", "a.csv:3", `already of "a"`)
	f("a.csv", "address,name\n10.0.0.1\n", "a.csv:2", "1 columns")
	f("a.csv", "address,name\n,b\n", "a.csv:2", "has no address")
	f("a.csv", "", "the file is empty")
	f("a.csv", "address\n"+strings.Repeat("x\n", 60), "10 more errors")
	f("a.toml", "[asset.a]\naddresses = [\"10.0.0.1\"]\ncriticality = \"huge\"\n", "a.toml:1", "low, medium, high, critical")
	f("a.toml", "[asset.a]\nadresses = [\"10.0.0.1\"]\n", "a.toml:2", `"addresses"`)
	f("a.json", "[\n{\"address\": \"10.0.0.1\"},\n\n {\"address\": \"10.0.0.2\", \"role\": \"x\"}]", "a.json:4", "role")
	f("a.json", "[{\"adress\": \"10.0.0.1\"}]", "a.json:1", "adress")
	f("a.json", "{}", "no list")
	f("a.txt", "10.0.0.1", ".csv, .toml or .json")
	if _, err := ReadInventory([]string{filepath.Join(t.TempDir(), "none.csv")}); err == nil || !strings.Contains(err.Error(), "none.csv") {
		t.Errorf("a file that is missing: %v", err)
	}
}

func TestSpans(t *testing.T) {
	f := func(s string, want ...string) {
		t.Helper()
		ps, err := parseNetworks(s)
		var got []string
		for _, p := range ps {
			got = append(got, p.String())
		}
		if d := cmp.Diff(want, got); d != "" || (err != nil) != (want == nil) {
			t.Errorf("%s: %v %s", s, err, d)
		}
	}
	f("0.0.0.0-255.255.255.255", "0.0.0.0/0")
	f("10.0.0.1-10.0.0.6", "10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32")
	f("::ffff:10.0.0.0/104", "10.0.0.0/8")
	f("10.1.2.3/8", "10.0.0.0/8")
	f("10.0.0.2-10.0.0.1")
	f("10.0.0.2-::1")
	f("fe80::1%eth0")
	f("")
}

func FuzzInventory(f *testing.F) {
	f.Add([]byte("address,role\n10.0.0.5,scanner\n"), uint8(0))
	f.Add([]byte("[asset.a]\naddresses = [\"10.0.0.1\"]\n"), uint8(1))
	f.Add([]byte(`[{"address": "10.0.0.1-10.0.0.4", "mac": ["00:00:5e:00:53:23"]}]`), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, form uint8) {
		r := &inventoryReader{into: &Inventory{hardware: map[[6]byte]*event.Asset{}}, file: "a"}
		switch form % 3 {
		case 0:
			r.csv(text)
		case 1:
			r.toml(text)
		case 2:
			r.json(text)
		}
		if len(r.problems) > mostProblems+1 && form%3 != 1 {
			t.Errorf("%d problems", len(r.problems))
		}
		r.into.Lookup(netip.AddrFrom4([4]byte{10, 0, 0, 1}), 0)
	})
}

func open(t testing.TB, c Config) *Context {
	t.Helper()
	x, err := Open(NewZones(nil), c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

const inventory = `address,name,role,criticality
10.0.0.5,scan1,scanner,
10.0.0.6,watch1,monitoring,
10.0.0.7,vault,backup,critical
10.0.0.8,ns1,resolver,
10.0.0.9,db1,server,critical
10.0.0.10,web1,server,high
`

// What the inventory explains is little; what much depends on is more severe.
func TestRoles(t *testing.T) {
	x := open(t, Config{Assets: []string{write(t, "a.csv", inventory)}})
	f := func(detector, kind, from, to string, severity event.Severity, score float64, evidence ...string) {
		t.Helper()
		o := event.Observation{
			Detector: detector, Score: 0.97, Risk: 80, Features: []event.Feature{event.Text("kind", kind), event.Number("score", 0.97)},
			Source:      event.Endpoint{Addr: netip.MustParseAddr(from), Scope: event.ScopeLocal},
			Destination: event.Endpoint{Addr: netip.MustParseAddr(to), Scope: event.ScopeLocal},
		}
		x.Explain(&o)
		found := event.Finding{Observation: o, Rule: &event.RuleInfo{Severity: event.SeverityHigh}}
		var got []string
		for _, e := range o.Evidence {
			got = append(got, e.Feature)
		}
		if d := cmp.Diff(evidence, got); d != "" || found.Severity() != severity || o.Score != score {
			t.Errorf("%s from %s to %s: %s, score %v; evidence: %s", detector, from, to, found.Severity(), o.Score, d)
		}
	}
	f("scan", "horizontal", "10.0.0.5", "10.9.9.9", event.SeverityLow, 0.617, "scan.declared_role")
	f("scan", "horizontal", "10.0.0.8", "10.9.9.9", event.SeverityHigh, 0.97)
	f("beacon", "http", "10.0.0.6", "10.9.9.9", event.SeverityLow, 0.617, "beacon.declared_role")
	f("beacon", "http", "10.0.0.8", "10.9.9.9", event.SeverityHigh, 0.97)
	f("beacon", "dns", "10.0.0.8", "10.9.9.9", event.SeverityLow, 0.617, "beacon.declared_role")
	f("dns_tunnel", "fast", "10.0.0.8", "10.9.9.9", event.SeverityLow, 0.617, "dns_tunnel.declared_role")
	f("exfiltration", "bulk", "10.9.9.9", "10.0.0.7", event.SeverityLow, 0.617, "exfiltration.declared_role", "exfiltration.criticality")
	f("exfiltration", "bulk", "10.0.0.5", "10.9.9.9", event.SeverityHigh, 0.97)
	f("exfiltration", "bulk", "10.0.0.9", "10.9.9.9", event.SeverityCritical, 0.97, "exfiltration.criticality")
	f("exfiltration", "bulk", "10.0.0.10", "10.9.9.9", event.SeverityHigh, 0.97, "exfiltration.criticality")
}

// A later report on the same episode finds the features as the detector made them.
func TestExplainLeavesSharedMemory(t *testing.T) {
	x := open(t, Config{Assets: []string{write(t, "a.csv", inventory)}})
	evidence := make([]event.Evidence, 1, 4)
	features := []event.Feature{event.Number("score", 0.97), event.Bool("known_scanner", false)}
	o := event.Observation{Detector: "scan", Score: 0.97, Source: event.Endpoint{Addr: netip.MustParseAddr("10.0.0.5")}, Evidence: evidence, Features: features}
	x.Explain(&o)
	if d := cmp.Diff([]event.Feature{event.Number("score", 0.97), event.Bool("known_scanner", false)}, features); d != "" {
		t.Error(d)
	}
	if evidence[:2][1].Feature != "" {
		t.Error("evidence went into the detector's memory")
	}
}

// A host that DHCP gives an address to has its name, and its asset by its hardware
// address, as long as the lease lasts, and the one before it had it before.
func TestLeases(t *testing.T) {
	x := open(t, Config{Assets: []string{write(t, "a.csv", "mac,name,role\n00:00:5e:00:53:02,laptop,workstation\n")}})
	at := netip.MustParseAddr("10.0.0.20")
	start := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC).UnixNano()
	lend := func(minute int64, mac, name string) {
		x.Enrich(&event.Event{Kind: event.KindDHCP, Time: start + minute*60e9, DHCP: &event.DHCP{AssignedAddr: at, MAC: mac, HostName: name, LeaseTime: 3600e9}})
	}
	lend(0, "00:00:5e:00:53:01", "desk1")
	lend(30, "00:00:5e:00:53:01", "desk1")
	lend(70, "00:00:5e:00:53:02", "lap7")
	lend(60, "00:00:5e:00:53:03", "late")
	lend(80, "no address", "x")
	f := func(minute int64, want string) {
		t.Helper()
		o := event.Observation{Detector: "scan", End: start + minute*60e9, Source: event.Endpoint{Addr: at}}
		x.Explain(&o)
		if got := o.Source.About.HostName(); got != want {
			t.Errorf("minute %d: %q, want %q", minute, got, want)
		}
	}
	f(-1, "")
	f(0, "desk1")
	f(69, "desk1")
	f(70, "laptop")
	f(129, "laptop")
	f(130, "")
}

// Many clients take no more memory than two generations.
func TestLeasesAreBounded(t *testing.T) {
	var l leases
	for i := range 3 * maxLeases {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		l.learn(&event.Event{Time: 1, DHCP: &event.DHCP{AssignedAddr: a, MAC: "00:00:5e:00:53:01"}})
	}
	if n := len(l.now) + len(l.old); n > 2*maxLeases {
		t.Errorf("%d addresses", n)
	}
}

// A file that is broken changes nothing, one that is mended does.
func TestReload(t *testing.T) {
	path := write(t, "a.csv", "address,name\n10.0.0.1,one\n")
	x := open(t, Config{Assets: []string{path}})
	name := func() string { return x.about(x.now.Load(), netip.MustParseAddr("10.0.0.1"), 0, 0).HostName() }
	f := func(text string, again, fails bool, want string) {
		t.Helper()
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := x.Reload()
		if got != again || (err != nil) != fails || name() != want {
			t.Errorf("%q: read again %v, error %v, name %q", text, got, err, name())
		}
	}
	f("", false, false, "one")
	f("address,name\n10.0.0.1,second\nx,y\n", true, true, "one")
	f("", false, false, "one")
	f("address,name\n10.0.0.1,the third\n", true, false, "the third")
}

func TestContextDoesNotAllocate(t *testing.T) {
	x := open(t, Config{Assets: []string{write(t, "a.csv", inventory)}})
	e := &event.Event{
		Proto: event.ProtoTCP, Conn: &event.Conn{},
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.5"), Port: 4000},
		Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7"), Port: 443},
	}
	if n := testing.AllocsPerRun(100, func() { x.Enrich(e) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if e.Orig.Role != event.RoleScanner {
		t.Errorf("role %q", e.Orig.Role)
	}
}

func BenchmarkContext(b *testing.B) {
	x := open(b, Config{Assets: []string{write(b, "a.csv", inventory)}})
	e := &event.Event{
		Proto: event.ProtoTCP, Conn: &event.Conn{},
		Orig: event.Host{Addr: netip.MustParseAddr("10.0.0.5"), Port: 4000},
		Resp: event.Host{Addr: netip.MustParseAddr("198.51.100.7"), Port: 443},
	}
	b.ReportAllocs()
	for b.Loop() {
		x.Enrich(e)
	}
}
