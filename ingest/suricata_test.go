package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/servers"
)

// lookups is a capture of n DNS lookups, each with its answer.
func lookups(from, n int) []byte {
	u16, u32 := binary.BigEndian.AppendUint16, binary.LittleEndian.AppendUint32
	b := u32(u32(u32([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 65535), 1), 0)[:24]
	for k := from; k < from+n; k++ {
		host := fmt.Sprintf("h%d", k)
		name := append([]byte{byte(len(host))}, host...)
		name = append(name, "\x07example\x03com\x00"...)
		for i, answers := range []uint16{0, 1} {
			dns := u16(u16(u16(u16(u16(u16(nil, uint16(k)), []uint16{0x0100, 0x8180}[i]), 1), answers), 0), 0)
			dns = u16(u16(append(dns, name...), 1), 1)
			src, dst, sport, dport := "\x0a\x00\x00\x01", "\x0a\x00\x00\x35", uint16(20000+k%40000), uint16(53)
			if answers > 0 {
				src, dst, sport, dport = dst, src, dport, sport
				dns = append(dns, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"...)
			}
			udp := append(u16(u16(u16(u16(nil, sport), dport), uint16(8+len(dns))), 0), dns...)
			ip := append(u16([]byte{0x45, 0}, uint16(20+len(udp))), 0, 0, 0, 0, 64, 17, 0, 0)
			packet := append([]byte("\x02\x02\x02\x02\x02\x02\x04\x04\x04\x04\x04\x04\x08\x00"), ip...)
			packet = append(append(append(packet, src...), dst...), udp...)
			b = u32(u32(b, uint32(1_700_000_000+k/1000)), uint32(k%1000*1000+i*300))
			b = append(u32(u32(b, uint32(len(packet))), uint32(len(packet))), packet...)
		}
	}
	return b
}

// written counts Suricata's own records by flow and type.
func written(t *testing.T, paths ...string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) { // there may have been nothing more to write
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var r struct {
				Flow json.Number `json:"flow_id"`
				Type string      `json:"event_type"`
			}
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			n[r.Type+" "+r.Flow.String()]++
		}
	}
	return n
}

// given counts what a Follow gives, until it has given as much as want says and
// nothing more comes for a moment.
func given(t *testing.T, f *Follow, want func() map[string]int) map[string]int {
	t.Helper()
	n, total := map[string]int{}, 0
	pool := event.NewSequencePool(1, 512)
	for start := time.Now(); time.Since(start) < time.Minute; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s := <-pool
		err := f.Fill(ctx, s)
		cancel()
		for _, ev := range s.Events {
			kind := map[event.Kind]string{event.KindDNS: "dns", event.KindConn: "flow"}[ev.Kind]
			n[kind+" "+strings.Clone(ev.UID)]++
			total++
		}
		s.Share(1)
		s.Release()
		if err == nil {
			continue
		}
		all := 0
		for _, k := range want() {
			all += k
		}
		if total >= all {
			break
		}
	}
	return n
}

// A real Suricata writes while its log is rotated by rename and HUP: each record
// comes once.
func TestSuricataRotates(t *testing.T) {
	s := servers.StartSuricata(t, lookups(0, 10), "", "")
	f := follow(t, nil, Input{Path: s.EVE, StartAt: StartAtBeginning})
	f.begin()
	var files []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer s.Stop() // it writes what flows there are
		for i := range 4 {
			if err := s.Feed(fmt.Sprintf("%d.pcap", i), lookups(1000+1000*i, 1000)); err != nil {
				t.Error(err)
				return
			}
			// Nobody rotates as fast as this loop.
			for src := f.Sources()[0]; src.Rotations < uint64(i) || src.Size < 100<<10; src = f.Sources()[0] {
				time.Sleep(time.Millisecond)
			}
			to := fmt.Sprintf("%s.%d", s.EVE, i)
			files = append(files, to)
			if err := s.Rotate(to); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	all := func() map[string]int {
		select {
		case <-ended:
			return written(t, append([]string{s.EVE}, files...)...)
		default:
			return map[string]int{"not ended": 1 << 30}
		}
	}
	got := given(t, f, all)
	want := all()
	if d := cmp.Diff(want, got); d != "" || len(want) < 4000 {
		t.Errorf("%d of %d (-wrote +got):\n%.2000s", len(got), len(want), d)
	}
	if n := f.Sources()[0].Rotations; n != 4 {
		t.Errorf("%d rotations were seen", n)
	}
}

// The same through its sockets.
func TestSuricataSockets(t *testing.T) {
	for _, kind := range []string{TypeUnixStream, TypeUnixDatagram} {
		t.Run(kind, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "eve.sock")
			f := follow(t, nil, Input{Type: kind, Path: socket})
			f.begin()
			network := map[string]string{TypeUnixStream: "unix", TypeUnixDatagram: "unixgram"}[kind]
			dial(t, network, socket).Close()
			s := servers.StartSuricata(t, lookups(0, 10), kind, socket)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer s.Stop()
				if err := s.Feed("a.pcap", lookups(1000, 2000)); err != nil {
					t.Error(err)
				}
				for size := int64(0); size < 1<<20; time.Sleep(10 * time.Millisecond) {
					if info, err := os.Stat(s.EVE); err == nil {
						size = info.Size()
					}
				}
			}()
			all := func() map[string]int {
				select {
				case <-ended:
					return written(t, s.EVE)
				default:
					return map[string]int{"not ended": 1 << 30}
				}
			}
			got := given(t, f, all)
			if d := cmp.Diff(all(), got); d != "" {
				t.Errorf("(-wrote +got):\n%.2000s", d)
			}
		})
	}
}
