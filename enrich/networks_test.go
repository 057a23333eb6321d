package enrich

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"tidewatch/event"
)

const networkText = `
[network.dmz]
networks = ["198.51.100.0/24", "2001:db8:1::/48"]
[network.guests]
networks = ["10.9.0.0/16"]
inside = false
[network.lab20]
networks = ["10.9.0.0/16", "203.0.113.0/24"]
vlans = [20]
`

// TestNetworks asks where addresses belong: of the smallest network, in the VLAN first.
func TestNetworks(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("203.0.113.128/25")}
	z, err := NewZones(local).With([]string{write(t, "n.toml", networkText)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr  string
		vlan  uint16
		scope event.Scope
		name  string
	}{
		{"198.51.100.7", 0, event.ScopeLocal, "dmz"},
		{"198.51.100.7", 20, event.ScopeLocal, "dmz"},
		{"2001:db8:1::7", 0, event.ScopeLocal, "dmz"},
		{"2001:db8:2::7", 0, event.ScopeExternal, ""},
		{"10.9.3.3", 0, event.ScopeExternal, "guests"},
		{"10.9.3.3", 20, event.ScopeLocal, "lab20"},
		{"10.9.3.3", 21, event.ScopeExternal, "guests"},
		{"10.8.3.3", 0, event.ScopeLocal, ""},
		{"203.0.113.7", 20, event.ScopeLocal, "lab20"},
		{"203.0.113.7", 0, event.ScopeExternal, ""},
		{"203.0.113.200", 0, event.ScopeLocal, ""},
		{"fd00::1", 0, event.ScopeLocal, ""},
		{"224.0.0.251", 20, event.ScopeMulticast, ""},
		{"fe80::1", 0, event.ScopeSpecial, ""},
	} {
		a := netip.MustParseAddr(c.addr)
		if got := z.Scope(a, c.vlan); got != c.scope || z.Name(a, c.vlan) != c.name {
			t.Errorf("%s in VLAN %d: scope %d of %q, want %d of %q", c.addr, c.vlan, got, z.Name(a, c.vlan), c.scope, c.name)
		}
	}
}

func TestNetworksErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[network.a]\nnetworks = [\"10.0.0.0/33\"]\n":                                                              "n.toml:2",
		"[network.a]\nnetworks = [\"10.0.0.0/8\"]\nvlans = [5000]\n":                                               "n.toml:3",
		"[network.a]\nnetworks = [\"10.0.0.0/8\"]\ninsde = true\n":                                                 "inside",
		"[network.a]\nnetworks = [\"10.0.0.0/8\"]\n[network.b]\nnetworks = [\"10.0.0.0/8\"]\n":                     `already of "a"`,
		"[network.a]\nvlans = [20]\n":                                                                              "no network is named",
		"[network.a]\nnetworks = [\"10.0.0.0/8\"]\nvlans=[3]\n[network.b]\nnetworks=[\"10.0.0.0/8\"]\nvlans=[3]\n": "in VLAN 3",
	} {
		_, err := NewZones(nil).With([]string{write(t, "n.toml", text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

// TestEnds enriches a record from all sources, and once more after a reload.
func TestEnds(t *testing.T) {
	dir := t.TempDir()
	geo := dir + "/geo.mmdb"
	country := named("Netherlands")
	country["iso_code"] = mmdbtype.String("NL")
	makeGeo(t, geo, map[string]mmdbtype.Map{"89.0.0.0/15": {"country": country, "location": mmdbtype.Map{"latitude": mmdbtype.Float64(52.5), "longitude": mmdbtype.Float64(5.75)}}})
	assets := write(t, "a.csv", "address,name,role,criticality,vlan\n10.9.0.5,scan1,scanner,,20\n10.9.0.5,printer,,high,\n")
	x := open(t, Config{
		Networks: []string{write(t, "n.toml", networkText)}, Assets: []string{assets}, Geo: []string{geo},
		Services: []string{write(t, "Acme.txt", "89.0.0.0/16\n")},
	})
	ev := func(vlan uint16) *event.Event {
		e := &event.Event{VLAN: vlan, Orig: event.Host{Addr: netip.MustParseAddr("10.9.0.5")}, Resp: event.Host{Addr: netip.MustParseAddr("89.0.0.7")}}
		x.Enrich(e)
		return e
	}
	far := &event.About{Geo: &event.Geo{Country: "NL", CountryName: "Netherlands", Located: true, Latitude: 52.5, Longitude: 5.75}, Service: &event.Service{Provider: "Acme"}}
	for range 2 { // the second time from what is at hand
		e := ev(20)
		if d := cmp.Diff([]*event.About{{Network: "lab20", Asset: &event.Asset{Name: "scan1", Role: event.RoleScanner}}, far}, []*event.About{e.Orig.About, e.Resp.About}, sameAddr); d != "" {
			t.Error(d)
		}
		if e.Orig.Role != event.RoleScanner || e.Orig.Scope != event.ScopeLocal {
			t.Errorf("%+v", e.Orig)
		}
		e = ev(0)
		if d := cmp.Diff(&event.About{Network: "guests", Asset: &event.Asset{Name: "printer", Criticality: event.CriticalityHigh}}, e.Orig.About, sameAddr); d != "" {
			t.Error(d)
		}
	}
	if err := os.WriteFile(assets, []byte("address,name\n10.9.0.5,renamed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reload(); err != nil {
		t.Fatal(err)
	}
	if e := ev(0); e.Orig.About.Asset.Name != "renamed" {
		t.Errorf("after the reload: %+v", e.Orig.About.Asset)
	}
}
