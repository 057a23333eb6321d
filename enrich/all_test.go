package enrich

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"tidewatch/event"
	"tidewatch/parsers"
	"tidewatch/parsers/zeek"
)

// exampleDay parses the records of the day that the repository ships.
func exampleDay(t testing.TB) (evs []*event.Event) {
	files, err := filepath.Glob("../examples/day/zeek/*.log*")
	if err != nil || len(files) == 0 {
		t.Fatal("no example: ", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		p := zeek.NewTSV(parsers.Options{})
		for line := range bytes.Lines(data) {
			b := event.NewBatch(nil, 1, 2*len(line)+64)
			ev, own := b.Add(bytes.TrimSuffix(line, []byte("\n")))
			if p.Parse(b, ev, own) == nil && ev.Kind != event.KindDHCP {
				evs = append(evs, ev)
			}
		}
	}
	return evs
}

// allSources returns a context with something in each source: a million indicators,
// twenty thousand assets and networks of services, and two databases.
func allSources(t testing.TB) *Context {
	dir := t.TempDir()
	var assets, services, intel strings.Builder
	assets.WriteString("address,name,owner,role,criticality\n")
	for i := range 20_000 {
		fmt.Fprintf(&assets, "10.%d.%d.%d,host%d,it,workstation,\n", 20+i>>16, i>>8&255, i&255, i)
		fmt.Fprintf(&services, "%d.%d.%d.0/24\n", 23+i%100, i/100, i%250)
	}
	for i := range 500_000 {
		fmt.Fprintf(&intel, "%d.%d.%d.%d\nbad%d.example.net\n", 60+i>>18, i>>16&3, i>>8&255, i&255, i)
	}
	networks := map[string]mmdbtype.Map{}
	for i := range 5000 {
		country := named(fmt.Sprint("Country ", i%200))
		country["iso_code"] = mmdbtype.String(fmt.Sprintf("%c%c", 'A'+i%26, 'A'+i/26%26))
		networks[fmt.Sprintf("%d.%d.0.0/16", 23+i%60, i/60)] = mmdbtype.Map{"country": country, "autonomous_system_number": mmdbtype.Uint32(i)}
	}
	makeGeo(t, dir+"/country.mmdb", networks)
	makeGeo(t, dir+"/asn.mmdb", networks)
	return open(t, Config{
		Networks: []string{write(t, "n.toml", networkText)}, Assets: []string{write(t, "a.csv", assets.String())}, Services: []string{write(t, "Acme.txt", services.String())},
		Indicators: []string{write(t, "i.txt", intel.String())}, Geo: []string{dir + "/country.mmdb", dir + "/asn.mmdb"},
	})
}

// BenchmarkAllSources enriches the records of the example day from all sources at once:
// the promise is 150 ns a record, and no allocation.
func BenchmarkAllSources(b *testing.B) {
	evs, x := exampleDay(b), allSources(b)
	geo := netip.MustParseAddr("23.0.0.7")
	for i, ev := range evs { // the example's far ends are in networks for documentation, which no database has
		if a := ev.Resp.Addr; a.Is4() && !a.IsPrivate() && !a.IsMulticast() {
			v := a.As4()
			v[0] = 23 + v[0]%60
			ev.Resp.Addr = netip.AddrFrom4(v)
			if i%7 == 0 {
				ev.Resp.Addr = geo
			}
		}
	}
	for _, ev := range evs {
		x.Enrich(ev)
	}
	said := 0
	for _, ev := range evs {
		if ev.Resp.About != nil && ev.Resp.About.Geo != nil {
			said++
		}
	}
	if 4*said < len(evs) {
		b.Fatalf("%d of %d records have a country", said, len(evs))
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, ev := range evs {
			ev.Threat = nil
			x.Enrich(ev)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(evs)), "ns/record")
}

// TestAllSourcesAllocate holds the other half of the promise.
func TestAllSourcesAllocate(t *testing.T) {
	evs, x := exampleDay(t)[:2000], allSources(t)
	for _, ev := range evs {
		x.Enrich(ev)
		ev.Threat = nil
	}
	if n := testing.AllocsPerRun(3, func() {
		for _, ev := range evs {
			x.Enrich(ev)
		}
	}); n > float64(len(evs))/1000 { // three addresses may have one place
		t.Errorf("%v allocations for %d records", n, len(evs))
	}
}
