package exfil

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"tidewatch/behavior/hosts"
	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

// How the past of a destination is learned: in natural logarithms of bytes.
var (
	hourly = sketch.Pace{Tau: 14 * 24 * time.Hour, Floor: 0.7}
	daily  = sketch.Pace{Tau: 10 * 24 * time.Hour, Floor: 0.7}
)

const (
	// suspiciousFrom is how many sigmas above normal close the gate of a baseline.
	suspiciousFrom = 3
	// matureHours and matureDays are how many of them speak for a destination's past.
	matureHours = 12
	matureDays  = 2
)

// burst is what a measure of throughput looks like: several connections that begin
// together and last equally long, some seconds.
type burst struct {
	start int64
	bytes uint64 // of those that began together, as long as they are too few
	total uint64 // of all bursts of the day
	n     uint8  // that began together
	many  uint8  // bursts of the day
}

const (
	burstWithin = 3 * second
	burstSize   = 3
	burstMin    = 5 * second
	burstMax    = 40 * second
	burstRate   = 500_000 // bytes a second of each
	maxBursts   = 6       // a day; whoever measures more often does something else
)

// measured reports whether a transfer can be part of a measure of throughput.
func (t *transfer) measured() bool {
	took := t.ev.End - t.ev.Time
	return !t.inbound && took >= burstMin && took <= burstMax && float64(t.out) >= burstRate*float64(took)/1e9
}

func (b *burst) add(t *transfer) {
	if !t.measured() {
		return
	}
	if d := t.ev.Time - b.start; d > burstWithin || d < -burstWithin {
		b.start, b.n, b.bytes = t.ev.Time, 0, 0
	}
	if b.n < math.MaxUint8 {
		b.n++
	}
	b.bytes += t.out
	if b.n == burstSize {
		b.many = min(b.many, math.MaxUint8-1) + 1
	}
	if b.n >= burstSize {
		b.total += b.bytes
		b.bytes = 0
	}
}

// Salts keep the keys of the kinds apart.
const saltKind = 0x9e3779b97f4a7c15

// spread mixes a hash with a salt (the finaliser of SplitMix64, Steele et al. 2014).
func spread(h, salt uint64) uint64 {
	h += salt
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (k kind) key(h uint64) uint64 { return spread(h, saltKind*uint64(k+1)) }

// destination says which account a transfer belongs to.
func (t *transfer) destination() (kind, uint64) {
	ev := t.ev
	k := byAddress
	switch {
	case ev.Proto.IsICMP():
		k = byEcho
	case ev.Proto == event.ProtoUDP && ev.Resp.Port == 123:
		k = byClock
	case ev.Proto == event.ProtoUDP && ev.Resp.Port == 53:
		k = byQuery
	case t.inbound:
		k = fromOutside
	case ev.Far().Domain != "":
		return byName, byName.key(ev.Far().DomainHash)
	}
	return k, k.key(t.far.Hash)
}

// network is the account of the neighbours of a destination without a name.
func (t *transfer) network() uint64 {
	return byNetwork.key(networkHash(t.far.Addr, t.ev.VLAN, t.ev.InnerVLAN))
}

func networkHash(a netip.Addr, vlan, inner uint16) uint64 {
	length := 24
	if a.Is6() {
		length = 64
	}
	p, _ := a.Prefix(length)
	return event.HashAddr(p.Addr(), vlan, inner)
}

// charge puts a transfer to the accounts that it belongs to, and judges what it makes
// of them: its destination, the neighbours of one without a name, and all that is new.
// What one of them tells of, the others leave out.
func (d *Detector) charge(h *host, t *transfer, dst []event.Observation) []event.Observation {
	k, key := t.destination()
	first := d.firstContact(h, key, t)
	h.post(k, key, first, t)
	network, fresh := uint64(0), (k == byName || k == byAddress) && newAndRare(first, t)
	if k == byAddress && !isMail(t.ev) {
		network = t.network()
	}
	h.note(key, network, fresh, t)
	if e := h.pursue(key, t); e != nil {
		return d.goOn(h, e, h.account(key), t, dst)
	}
	if a := h.account(key); a != nil && a.usual() {
		return dst
	}
	if network != 0 {
		h.post(byNetwork, network, first, t)
		if e := h.pursue(network, t); e != nil {
			return d.goOn(h, e, h.account(network), t, dst)
		}
	}
	opened := false
	if a := h.account(key); a != nil {
		if dst, opened = d.consider(h, a, t, dst); opened || a.told {
			return dst // what was told of today, or turned out to be harmless
		}
	}
	if n := h.account(network); n != nil && bits.OnesCount64(n.day.members) > 2 {
		dst, opened = d.consider(h, n, t, dst)
	}
	if !fresh || opened {
		return dst
	}
	if h.budget == nil {
		h.budget = &account{key: allNew.key(0), kind: allNew, first: first}
	}
	h.budget.add(key, t)
	if e := h.pursue(h.budget.key, t); e != nil {
		return d.goOn(h, e, h.budget, t, dst)
	}
	if bits.OnesCount64(h.budget.day.members) >= minSpread {
		dst, _ = d.consider(h, h.budget, t, dst)
	}
	return dst
}

// account returns the account with this key, or nil.
func (h *host) account(key uint64) *account {
	if len(h.keys) != len(h.accounts) {
		h.keys = h.keys[:0]
		for i := range h.accounts {
			h.keys = append(h.keys, h.accounts[i].key)
		}
	}
	if i := slices.Index(h.keys, key); i >= 0 {
		return &h.accounts[i]
	}
	return nil
}

// minSpread is how many new destinations are several.
const minSpread = 4

// newAndRare reports whether a transfer counts against the budget of all new
// destinations: it goes one way, to where the host never sent before, and nothing says
// that the destination is one of many people's.
func newAndRare(first int64, t *transfer) bool {
	k := t.ev.Far()
	if first == 0 || t.ev.End-first > newFor || t.out < 2*t.in || k.Rank != 0 || isMail(t.ev) {
		return false
	}
	if k.Class != event.ClassNone && k.Class != event.ClassBackup {
		return false
	}
	_, w := rarity(useOf(k), k.Hosts)
	return w >= 0
}

// isMail reports whether mail is sent: to new servers all over the world.
func isMail(ev *event.Event) bool {
	return ev.Proto == event.ProtoTCP && (ev.Resp.Port == 25 || ev.Resp.Port == 465 || ev.Resp.Port == 587)
}

// useOf is how widely the destination is used, by its best name.
func useOf(k *event.Known) event.Use {
	if k.Domain != "" {
		return k.OfDomain
	}
	return k.Addr
}

// firstContact returns when the host dealt with a destination first: now, or when it
// is remembered, or 0 if that is so long ago that only the fact is.
func (d *Detector) firstContact(h *host, key uint64, t *transfer) int64 {
	if a := h.account(key); a != nil {
		return a.first
	}
	for i := range h.small {
		if h.small[i].key == key {
			return int64(h.small[i].first) * second
		}
	}
	b := d.known.Of(t.host.Hash)
	if h.silent {
		b = d.known.Own(t.host.Hash)
	}
	if b != nil && b.Knows(hosts.Peer(t.ev, t.far)) {
		return 0
	}
	return t.ev.Time
}

// post adds a transfer to the account with a key, or to what little its destination
// got.
func (h *host) post(k kind, key uint64, first int64, t *transfer) {
	a := h.account(key)
	if a == nil {
		l := h.light(key, first, t)
		if l.out < promote {
			return
		}
		a = h.promote(k, l, t)
	}
	a.add(t.far.Hash, t)
}

// light adds a transfer to what little a destination got.
func (h *host) light(key uint64, first int64, t *transfer) *light {
	today := int32(t.ev.End / day)
	worst := -1
	for i := range h.small {
		l := &h.small[i]
		if l.key == key {
			l.add(today, t)
			return l
		}
		if worst < 0 || l.less(&h.small[worst]) {
			worst = i
		}
	}
	n := light{key: key, first: seconds(first), day: today}
	n.add(today, t)
	if len(h.small) < maxSmall {
		h.small = append(grown(h.small, 4), n)
		return &h.small[len(h.small)-1]
	}
	h.small[worst] = n
	return &h.small[worst]
}

func (l *light) add(today int32, t *transfer) {
	if today > l.day || today < l.day-2 {
		l.day, l.out = today, 0
	}
	l.last = max(l.last, seconds(t.ev.End))
	l.out = uint32(min(uint64(l.out)+t.out, math.MaxUint32))
}

// less reports whether l is worth less than o: it is older, or got less today.
func (l *light) less(o *light) bool {
	if l.day != o.day {
		return l.day < o.day
	}
	if l.out != o.out {
		return l.out < o.out
	}
	return l.last < o.last
}

// grown returns s with room for one more. It grows by a few: most hosts have few.
func grown[T any](s []T, few int) []T {
	if len(s) < cap(s) {
		return s
	}
	return append(make([]T, 0, len(s)+few), s...)
}

func seconds(ns int64) uint32 { return uint32(min(max(ns/second, 0), math.MaxUint32)) }

// promote turns a light destination into an account, in the place of the one that was
// silent longest if there are too many.
func (h *host) promote(k kind, l *light, t *transfer) *account {
	n := account{key: l.key, kind: k, first: int64(l.first) * second}
	if today := int32(t.ev.End / day); today == l.day {
		n.day = window{at: today, out: uint64(l.out) - min(uint64(l.out), t.out), first: t.ev.Time}
	}
	*l = h.small[len(h.small)-1]
	h.small = h.small[:len(h.small)-1]
	if len(h.accounts) < maxAccounts {
		h.accounts = append(grown(h.accounts, 1), n)
		return &h.accounts[len(h.accounts)-1]
	}
	oldest := 0
	for i := range h.accounts {
		if h.accounts[i].last < h.accounts[oldest].last {
			oldest = i
		}
	}
	h.accounts[oldest], h.keys = n, h.keys[:0]
	return &h.accounts[oldest]
}

// add counts a transfer of an account. member says which destination it went to.
func (a *account) add(member uint64, t *transfer) {
	a.roll(t.ev.End)
	a.last = max(a.last, t.ev.End)
	a.hourOut += t.out
	w := &a.day
	w.add(t)
	w.members |= 1 << (spread(member, saltKind) >> 58)
	a.burst.add(t)
}

func (w *window) add(t *transfer) {
	if w.conns == 0 && w.first == 0 {
		w.first = t.ev.Time
	}
	w.first = min(w.first, t.ev.Time)
	w.last = max(w.last, t.ev.End)
	w.conns++
	w.out += t.out
	w.in += t.in
	w.pkts += t.pkts
	if t.blind {
		w.blind += t.out
	}
	if t.disputed {
		w.disputed += t.out
	}
	w.mark = least(w.mark, t)
	w.largest = max(w.largest, t.out)
	w.lasted = max(w.lasted, t.ev.End-t.ev.Time)
	k := t.ev.Far()
	_, rare := rarity(useOf(k), k.Hosts)
	w.rarity += rare * float64(t.out)
}

// roll closes the hours and days that are over at a time.
func (a *account) roll(at int64) {
	if h := int32(at / hour); h > a.hour || h < a.hour-int32(wrongClock/hour) {
		if a.hourOut > 0 && h > a.hour {
			x := math.Log1p(float64(a.hourOut))
			suspicious := a.suspect || a.hours.Weight() >= matureHours && a.hours.Score(x, hourly.Floor) > suspiciousFrom
			a.hours.Update(x, int64(a.hour+1)*hour, hourly, suspicious)
		}
		a.hour, a.hourOut = h, 0
	}
	if n := int32(at / day); n > a.day.at || n < a.day.at-int32(wrongClock/day) {
		if n > a.day.at {
			a.closeDay()
		}
		a.day = window{at: n}
		a.burst = burst{}
		a.told, a.suspect = false, false
	}
}

// closeDay learns from a day that is over.
func (a *account) closeDay() {
	if a.day.out == 0 {
		return
	}
	a.before = a.day.out
	x, end := math.Log1p(float64(a.day.out)), int64(a.day.at+1)*day
	z := a.days.Score(x, daily.Floor)
	if a.days.Weight() >= matureDays {
		a.drift.Add(z, end)
	}
	a.days.Update(x, end, daily, a.suspect || a.days.Weight() >= matureDays && z > suspiciousFrom)
}
