package suricata

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

// readLog returns the text of a compressed log of the shared data.
func readLog(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(shareddata.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func lines(text []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// census is what became of the lines of a log.
type census struct {
	Kinds    map[string]int
	Skipped  map[string]int
	Outcomes map[string]int
	Refused  []string
}

func count(t testing.TB, text []byte, each func(*event.Event)) census {
	t.Helper()
	c := census{map[string]int{}, map[string]int{}, map[string]int{}, nil}
	p := New(parsers.Options{})
	for _, line := range lines(text) {
		b := event.NewBatch(nil, 1, 3*len(line))
		ev, own := b.Add(line)
		var skip *parsers.Skip
		switch err := p.Parse(b, ev, own); {
		case errors.As(err, &skip):
			c.Skipped[skip.Name]++
		case err != nil:
			c.Refused = append(c.Refused, err.Error()+": "+string(line))
		default:
			c.Kinds[ev.Kind.String()]++
			if ev.Kind == event.KindConn {
				c.Outcomes[ev.Outcome.String()]++
			}
			if each != nil {
				each(ev)
			}
		}
	}
	return c
}

// Every record that a Suricata 7.0.10 wrote from the captures of suricata-verify is
// understood; the counts are jq's.
func TestSuricataVerify(t *testing.T) {
	got := count(t, readLog(t, "suricata/eve-7.0.10.json.gz"), nil)
	want := census{
		Kinds: map[string]int{
			"smb": 5233, "conn": 2815, "dns": 2562, "dcerpc": 1394, "file": 1191, "http": 1087, "anomaly": 826, "ftp": 565,
			"nfs": 204, "tls": 109, "mqtt": 109, "smtp": 98, "sip": 95, "quic": 74, "kerberos": 40, "snmp": 31, "dhcp": 22,
			"ssh": 18, "ike": 11, "rdp": 4, "stats": 1,
		},
		Skipped:  map[string]int{"ftp_data": 19, "bittorrent_dht": 16, "rfb": 6, "tftp": 2},
		Outcomes: map[string]int{"answered": 1795, "rejected": 7, "silent": 768, "unknown": 245},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestLabelled(t *testing.T) {
	f := func(name string, kinds, outcomes map[string]int) {
		t.Helper()
		got := count(t, readLog(t, "labelled/"+name+".eve.json.gz"), nil)
		want := census{kinds, map[string]int{}, outcomes, nil}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", name, diff)
		}
	}
	none := map[string]int{}
	f("scan/445_scan", map[string]int{"conn": 9}, map[string]int{"silent": 9})
	f("scan/port_scan", map[string]int{"conn": 10}, map[string]int{"silent": 10})
	f("scan/multiport_scan", map[string]int{"conn": 10}, map[string]int{"silent": 10})
	f("scan/scan_with_zero_windows", map[string]int{"conn": 10}, map[string]int{"silent": 10})
	f("scan/ndpi-synscan", map[string]int{"conn": 1994}, map[string]int{"answered": 3, "rejected": 5, "silent": 1986})
	f("scan/backscatter", map[string]int{"conn": 3254, "dns": 2}, map[string]int{"unknown": 3252, "silent": 2})
	f("dns-tunnel/dnscat2-cname", map[string]int{"dns": 9000}, none)
	f("dns-tunnel/iodine-cname", map[string]int{"dns": 9000}, none)
	f("dns-tunnel/normal-00", map[string]int{"dns": 12000}, none)
}
