package enrich

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"tidewatch/event"
)

// makeGeo writes a database of these networks.
func makeGeo(t testing.TB, path string, networks map[string]mmdbtype.Map) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	for n, rec := range networks {
		_, network, err := net.ParseCIDR(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(network, rec); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func named(s string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(s), "de": mmdbtype.String("anders")}}
}

func TestGeo(t *testing.T) {
	dir := t.TempDir()
	city, asn, flat := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "asn.mmdb"), filepath.Join(dir, "flat.mmdb")
	country := named("Germany")
	country["iso_code"] = mmdbtype.String("DE")
	makeGeo(t, city, map[string]mmdbtype.Map{
		"81.2.69.0/24": {"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}, "country": country, "city": named("Essen\x1b[31m"), "subdivisions": mmdbtype.Slice{named("NRW")}},
		"2a02::/16":    {"country": country},
	})
	makeGeo(t, asn, map[string]mmdbtype.Map{"81.2.64.0/18": {"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String(strings.Repeat("x", 500))}})
	makeGeo(t, flat, map[string]mmdbtype.Map{"81.2.0.0/16": {"country_code": mmdbtype.String("GB")}, "9.9.9.0/24": {"country_code": mmdbtype.String("US")}})
	g, err := readGeo([]string{city, asn, flat})
	if err != nil {
		t.Fatal(err)
	}
	f := func(addr string, want *event.Geo) {
		t.Helper()
		if d := cmp.Diff(want, g.Lookup(netip.MustParseAddr(addr))); d != "" {
			t.Errorf("%s (-want +got):\n%s", addr, d)
		}
	}
	long := strings.Repeat("x", maxGeoText)
	f("81.2.69.7", &event.Geo{Continent: "EU", Country: "DE", CountryName: "Germany", Region: "NRW", City: "Essen\x1b[31m", ASN: 64500, Organization: long})
	f("::ffff:81.2.69.7", &event.Geo{Continent: "EU", Country: "DE", CountryName: "Germany", Region: "NRW", City: "Essen\x1b[31m", ASN: 64500, Organization: long})
	f("81.2.70.7", &event.Geo{Country: "GB", ASN: 64500, Organization: long}) // the next one knows
	f("9.9.9.9", &event.Geo{Country: "US"})
	f("2a02::7", &event.Geo{Country: "DE", CountryName: "Germany"})
	f("8.8.8.8", nil)
	f("10.0.0.5", nil)
	if g.Lookup(netip.Addr{}) != nil || (*GeoDatabases)(nil).Lookup(netip.MustParseAddr("9.9.9.9")) != nil {
		t.Error("something is known of nothing")
	}
}

// A database that is replaced is read again; a broken one changes nothing.
func TestGeoReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.mmdb")
	country := func(code string) {
		makeGeo(t, path, map[string]mmdbtype.Map{"9.0.0.0/8": {"country_code": mmdbtype.String(code)}})
	}
	country("US")
	c, err := Open(NewZones(nil), Config{Geo: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(want string) {
		t.Helper()
		o := event.Observation{End: 1, Destination: event.Endpoint{Addr: netip.MustParseAddr("9.9.9.9")}, Source: event.Endpoint{Addr: netip.MustParseAddr("10.0.0.5")}}
		c.Explain(&o)
		if o.Destination.About == nil || o.Destination.About.Geo == nil || o.Destination.About.Geo.Country != want || o.Source.About != nil {
			t.Errorf("%+v, want %s", o.Destination.About, want)
		}
	}
	f("US")
	country("CH")
	_ = os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute))
	if again, err := c.Reload(); !again || err != nil {
		t.Fatalf("%v %v", again, err)
	}
	f("CH")
	if err := os.WriteFile(path, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))
	if again, err := c.Reload(); !again || err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), ".mmdb") {
		t.Fatalf("%v %v", again, err)
	}
	f("CH")
	if _, err := Open(NewZones(nil), Config{Geo: []string{path + ".none"}}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// The free database that `tidewatch setup geo` names: of the registries, CC0.
func TestGeoOfRegistries(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: there is no npm to fetch the database with")
	}
	dir := t.TempDir()
	fetch := exec.Command(npm, "pack", "--silent", "@ip-location-db/geo-whois-asn-country-mmdb")
	fetch.Dir = dir
	out, err := fetch.CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: the database cannot be fetched: %v\n%s", err, out)
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("%v %v", packed, err)
	}
	if out, err := exec.Command("tar", "-xzf", packed[0], "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g, err := readGeo([]string{filepath.Join(dir, "package/geo-whois-asn-country.mmdb")})
	if err != nil {
		t.Fatal(err)
	}
	f := func(addr, want string) {
		t.Helper()
		if got := g.Lookup(netip.MustParseAddr(addr)); got == nil || got.Country != want {
			t.Errorf("%s: %+v, want %s", addr, got, want)
		}
	}
	f("130.59.1.1", "CH") // of Switzerland's universities
	f("147.32.0.1", "CZ") // of Prague's
	f("2001:620::1", "CH")
}

func BenchmarkGeo(b *testing.B) {
	path := filepath.Join(b.TempDir(), "c.mmdb")
	makeGeo(b, path, map[string]mmdbtype.Map{"9.0.0.0/8": {"country_code": mmdbtype.String("US")}})
	g, err := readGeo([]string{path})
	if err != nil {
		b.Fatal(err)
	}
	a := netip.MustParseAddr("9.9.9.9")
	b.ReportAllocs()
	for b.Loop() {
		if g.Lookup(a) == nil {
			b.Fatal("unknown")
		}
	}
}
