package ingest

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzPosition(f *testing.F) {
	p := filePosition{Done: true, Offset: 1 << 40, Line: 7, Updated: 1_700_000_000, Path: "/logs/conn.log", ID: identity{fileKey{1, 2}, 3},
		Head: fingerprintOf([]byte("#separator \\x09\nrecord\n")), First: -5, Format: FormatZeekTSV, Header: []byte("header")}
	f.Add(p.appendFixed(p.appendMoving(nil)))
	f.Add([]byte{positionVersion + 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePosition(data)
		if err != nil {
			return
		}
		stored := p.appendFixed(p.appendMoving(nil))
		again, err := parsePosition(stored)
		if err != nil || !bytes.Equal(stored, again.appendFixed(again.appendMoving(nil))) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

func TestRotatedName(t *testing.T) {
	f := func(base, name string, want bool) {
		t.Helper()
		if d := cmp.Diff(want, isRotatedName(base, name)); d != "" {
			t.Errorf("%s for %s", name, base)
		}
	}
	f("conn.log", "conn.2026-11-24-13-00-00.log", true)
	f("conn.log", "conn.13:00:00-14:00:00.log.gz", true)
	f("conn.log", "conn__2026-11-24-13-00-00__2026-11-24-14-00-00__.log", true)
	f("conn.log", "conn-logger-1.13:00:00-14:00:00.log.gz", true)
	f("conn.log", "conn_long.log", false)
	f("conn.log", "conn.log", false)
	f("conn.log", "connections.log", false)
	f("eve.json", "eve.json.1", true)
	f("eve.json", "eve.json-20261124.gz", true)
	f("eve.json", "eve-alerts.json", false)
	f("json_streaming_conn.log", "json_streaming_conn.1.log", true)
}
