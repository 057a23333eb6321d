package event

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"
)

func TestEventIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Event{}); n > 400 {
		t.Errorf("an Event takes %d bytes, want at most 400", n)
	}
}

// The ids are those of the reference implementation's baselines
// (corelight/community-id-spec, BSD).
func TestCommunityID(t *testing.T) {
	f := func(p Proto, a string, ap uint16, b string, bp uint16, want string) {
		t.Helper()
		e := &Event{Proto: p, Orig: Host{Addr: netip.MustParseAddr(a), Port: ap}, Resp: Host{Addr: netip.MustParseAddr(b), Port: bp}}
		if got := CommunityID(e); got != want {
			t.Errorf("%v %s:%d > %s:%d: got %s, want %s", p, a, ap, b, bp, got, want)
		}
	}
	f(ProtoTCP, "128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f(ProtoTCP, "66.35.250.204", 80, "128.232.110.120", 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f(ProtoUDP, "192.168.1.52", 54585, "8.8.8.8", 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
	f(ProtoICMP, "192.168.0.89", 8, "192.168.0.1", 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=")
	f(ProtoICMP, "192.168.0.1", 0, "192.168.0.89", 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=")
	if id := CommunityID(&Event{CommunityID: "1:given"}); id != "1:given" {
		t.Errorf("the sensor's own id was not kept: %s", id)
	}
	if id := CommunityID(&Event{}); id != "" {
		t.Errorf("a record without addresses has id %q", id)
	}
}

// Two records have one ConnHash exactly when they have one community id.
func TestHashConnFollowsCommunityID(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	addrs := []string{"10.0.0.1", "10.0.0.2", "fe80::1", "fe80::2"}
	protos := []Proto{ProtoTCP, ProtoUDP, ProtoICMP, ProtoICMPv6, ProtoSCTP, 50}
	ids, hashes := map[string]uint64{}, map[uint64]string{}
	for range 20000 {
		v6 := 2 * r.IntN(2)
		e := &Event{
			Proto: protos[r.IntN(len(protos))],
			Orig:  Host{Addr: netip.MustParseAddr(addrs[v6+r.IntN(2)]), Port: uint16(r.IntN(20))},
			Resp:  Host{Addr: netip.MustParseAddr(addrs[v6+r.IntN(2)]), Port: uint16(r.IntN(20))},
		}
		id, h := CommunityID(e), HashConn(e)
		if old, ok := ids[id]; ok && old != h {
			t.Fatalf("%s has two hashes: %+v", id, e)
		}
		if old, ok := hashes[h]; ok && old != id {
			t.Fatalf("%s and %s share a hash: %+v", old, id, e)
		}
		ids[id], hashes[h] = h, id
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	p := NewPool(1, 512, 1<<20)
	line := []byte("1736900000.123456\tCHhAvVGS1DHFjwGM9\t10.20.30.40\t52144\t93.184.216.34\t443\tssl\t5120")
	b := <-p
	fill := func() {
		for range 512 {
			ev, _ := b.Add(line)
			if ev == nil {
				t.Fatal("full too early")
			}
			b.Conn(ev).Service = "ssl"
			ev.DNS = nil
			_ = append(b.Strings(2), "a", "b")
		}
		b.Release()
		b = <-p
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
}

func TestBatchIsFullNotLarger(t *testing.T) {
	b := NewBatch(nil, 4, 100)
	if ev, _ := b.Add(make([]byte, 30)); ev == nil {
		t.Fatal("30 bytes do not fit into 100")
	}
	if ev, _ := b.Add(make([]byte, 36)); ev != nil {
		t.Error("36 bytes and their scratch fit beside 30 in 100")
	}
	b.Release()
	long := make([]byte, 1000)
	ev, line := b.Add(long)
	if ev == nil || len(line) != 1000 {
		t.Fatal("a long line is refused by an empty batch")
	}
	long[0] = 'x'
	if line[0] != 0 {
		t.Error("the batch holds the caller's memory")
	}
	if s := append(b.Scratch(10), 'a'); len(s) != 1 || cap(s) != 10 {
		t.Errorf("scratch has length %d, capacity %d", len(s), cap(s))
	}
}

// Records that are dropped use nothing up: not the buffer, not the columns, not
// the lists.
func TestDropTakesMemoryBack(t *testing.T) {
	b := NewBatch(nil, 4, 1000)
	line := make([]byte, 400)
	kept, _ := b.Add([]byte("kept"))
	b.Conn(kept).Service = "kept"
	churn := func() {
		ev, _ := b.Add(line)
		if ev == nil {
			t.Fatal("dropped records filled the batch")
		}
		b.Conn(ev).Service = "dropped"
		b.DNS(ev)
		_ = append(b.Strings(12), "dropped")
		_ = b.TTLs(12)
		_ = b.Scratch(300)
		b.Drop()
	}
	churn()
	if n := testing.AllocsPerRun(100, churn); n != 0 {
		t.Errorf("%v allocations a dropped record, want 0", n)
	}
	ev, _ := b.Add([]byte("next"))
	if c := b.Conn(ev); c.Service != "" || b.Strings(1)[:1][0] != "" {
		t.Errorf("a dropped record shows in the next: %+v", c)
	}
	if kept.Conn.Service != "kept" {
		t.Error("a dropped record took its neighbour's columns")
	}
}

// A view that leaves a batch must not be able to grow into its neighbour.
func TestViewsAreCut(t *testing.T) {
	b := NewBatch(nil, 4, 1000)
	_, one := b.Add([]byte("one"))
	_, two := b.Add([]byte("two"))
	_ = append(one, "XXX"...)
	if string(two) != "two" {
		t.Errorf("append to a line overwrote the next: %q", two)
	}
	s1, s2 := b.Strings(1), b.Strings(1)
	s2 = append(s2, "b")
	_ = append(s1, "a", "c")
	if s2[0] != "b" {
		t.Errorf("append to a list overwrote the next: %q", s2[0])
	}
}

func TestReleaseTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s := &Sequence{}
	s.Share(1)
	s.Release()
	s.Release()
}

func TestColumnsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range Column(NumColumns) {
		if n := c.String(); n == "" || seen[n] {
			t.Errorf("column %d has the name %q, empty or taken", c, n)
		}
		seen[c.String()] = true
	}
	if s := fmt.Sprint(ConnState, DNSTTLs, TLSJA3S); s != "conn.state dns.ttls tls.ja3s" {
		t.Errorf("names do not stand beside their columns: %s", s)
	}
}

// What is known of an event goes with its sequence; its batch may live on.
func TestKnownGoesWithItsSequence(t *testing.T) {
	b := NewBatch(nil, 2, 64)
	ev, _ := b.Add([]byte("x"))
	pool := NewSequencePool(1, 2)
	s := <-pool
	s.Events = append(s.Events, ev)
	s.Hold(b)
	s.KnownFor(ev).Name = "a.example"
	if ev.Far().Name != "a.example" {
		t.Errorf("known: %+v", ev.Far())
	}
	s.Share(1)
	s.Release()
	if ev.Known != nil || ev.Far().Name != "" {
		t.Error("what was known outlives its sequence")
	}
	if s = <-pool; s.KnownFor(ev).Name != "" {
		t.Error("what is known of the next event is not empty")
	}
}
