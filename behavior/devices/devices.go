// Package devices knows which device had which address when, by DHCP, and lets a host that
// moves to another address stay one entity. It is a stage of the pipeline, where events
// have one order.
//
// A device is known by the first address that it was given: its entity. Where it has
// another one later, records get the entity's address in place of their own, and the
// detectors see one host. What they tell is told of the address that the device had then.
//
// Nothing that was learned is moved. What an address did before anybody knew whose it was
// belongs to the first device that was given it. Who is given an address that is another
// device's entity gets an entity of his own, and so does who has it when that device is
// known to be elsewhere. Devices that the inventory calls one asset share the entity of the
// first of them. An asset to which the inventory gives several addresses is known by the
// first of those, and told by it.
package devices

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"tidewatch/behavior/state"
	"tidewatch/event"
)

const (
	// maxDevices bounds what is remembered; those that were given an address longest ago
	// make room.
	maxDevices = 1 << 16
	// mostMoves is how many addresses of a device are remembered, and how many devices of
	// an address.
	mostMoves = 6
	// longestAsset bounds the name of an asset, in bytes.
	longestAsset = 100
	// version is the first byte of a stored record.
	version = 1
)

// Devices is that stage. Assign, Cut and Restore are called by one goroutine; Present by
// several, at the same time.
type Devices struct {
	// Asset returns what the inventory calls the owner of a hardware address; "" if it has
	// none. It may be nil, and its answers may change.
	Asset func(mac [6]byte) string

	mu       sync.RWMutex
	byMAC    map[[6]byte]*device
	byAsset  map[string]*entity
	tenants  map[uint64][]tenancy // by the hash of an address: the latest first
	entities map[netip.Addr]*entity
	strange  map[netip.Addr]netip.Addr // IPv6 addresses by what stands for them
	tracking bool
	dirty    []*device
	gone     [][6]byte
}

// device is one hardware address.
type device struct {
	mac    [6]byte
	asset  string // "" if it is in no inventory
	entity *entity
	moves  []move // the latest first
	marked bool   // it is in dirty
}

// move is that a device was given an address.
type move struct {
	hash uint64 // of the address and its VLANs
	addr netip.Addr
	from int64 // Unix nanoseconds
}

// tenancy is that an address was given to a device.
type tenancy struct {
	of   *device
	from int64
}

// entity is what detectors take for one host.
type entity struct {
	addr    netip.Addr
	devices []*device
}

// at returns the address that a device has at a time, by its hash; 0 for none.
func (d *device) at(t int64) *move {
	for i := range d.moves {
		if d.moves[i].from <= t {
			return &d.moves[i]
		}
	}
	return nil
}

// Assign lets records of devices that have moved be about their entities. The sequence
// must not be shared yet. It does not allocate for records of hosts that have not moved.
func (v *Devices) Assign(s *event.Sequence) {
	for _, ev := range s.Events {
		if ev.Kind == event.KindDHCP {
			v.learn(ev)
		}
		if len(v.tenants) == 0 && ev.Orig.About == nil && ev.Resp.About == nil {
			continue
		}
		orig, resp := v.resolve(ev, &ev.Orig), v.resolve(ev, &ev.Resp)
		if orig == ev.Orig.Addr && resp == ev.Resp.Addr {
			continue
		}
		s.KnownFor(ev).Moved = &[2]netip.Addr{ev.Orig.Addr, ev.Resp.Addr}
		become(ev, &ev.Orig, orig)
		become(ev, &ev.Resp, resp)
	}
}

func become(ev *event.Event, h *event.Host, a netip.Addr) {
	if h.Addr != a {
		h.Addr, h.Hash = a, event.HashAddr(a, ev.VLAN, ev.InnerVLAN)
	}
}

// resolve returns the address of the entity that a host is.
func (v *Devices) resolve(ev *event.Event, h *event.Host) netip.Addr {
	if h.Scope != event.ScopeLocal {
		return h.Addr
	}
	if about := h.About; about != nil && about.Asset != nil && about.Asset.Entity.IsValid() {
		return about.Asset.Entity
	}
	key := h.Hash
	all := v.tenants[key]
	if len(all) == 0 && ev.VLAN|ev.InnerVLAN != 0 && len(v.tenants) > 0 {
		// Zeek does not say in which VLAN DHCP gave an address.
		key = event.HashAddr(h.Addr, 0, 0)
		all = v.tenants[key]
	}
	if len(all) == 0 {
		return h.Addr
	}
	for i := range all {
		if all[i].from > ev.Time {
			continue
		}
		if at := all[i].of.at(ev.Time); at != nil && at.hash == key {
			return all[i].of.entity.addr
		}
		if v.entities[h.Addr] != nil {
			return v.stranger(h.Addr) // the device is elsewhere
		}
		return h.Addr
	}
	return h.Addr // before it was given to anybody
}

// learn takes a DHCP record in which a server gives an address away.
func (v *Devices) learn(ev *event.Event) {
	d := ev.DHCP
	if !d.Gives() {
		return
	}
	mac, err := net.ParseMAC(d.MAC)
	if err != nil || len(mac) != 6 {
		return
	}
	a := d.AssignedAddr.Unmap()
	v.give([6]byte(mac), move{event.HashAddr(a, ev.VLAN, ev.InnerVLAN), a, ev.Time})
}

// give notes that a device has an address from a time on.
func (v *Devices) give(mac [6]byte, m move) {
	asset := ""
	if v.Asset != nil {
		asset = v.Asset(mac)
		asset = asset[:min(len(asset), longestAsset)]
	}
	known := v.byMAC[mac]
	if known != nil && known.asset == asset {
		if last := known.at(m.from); last != nil && last.hash == m.hash {
			return // renewed
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byMAC == nil {
		v.byMAC, v.byAsset, v.tenants = map[[6]byte]*device{}, map[string]*entity{}, map[uint64][]tenancy{}
		v.entities, v.strange = map[netip.Addr]*entity{}, map[netip.Addr]netip.Addr{}
	}
	if known == nil {
		if len(v.byMAC) >= maxDevices {
			v.forget()
		}
		known = &device{mac: mac}
		v.byMAC[mac] = known
	}
	v.belong(known, asset, m.addr)
	if last := known.at(m.from); last == nil || last.hash != m.hash {
		known.move(m)
		v.tenants[m.hash] = settle(v.tenants[m.hash], tenancy{known, m.from})
	}
	v.touch(known)
}

// belong makes a device a part of the entity that it belongs to: its asset's, or its own.
func (v *Devices) belong(d *device, asset string, first netip.Addr) {
	if d.entity != nil && d.asset == asset {
		return
	}
	alone := d.entity != nil && len(d.entity.devices) == 1
	if alone && v.byAsset[d.asset] == d.entity {
		delete(v.byAsset, d.asset)
	}
	switch shared := v.byAsset[asset]; {
	case asset != "" && shared != nil: // merged into what the asset's first device is
		if alone {
			delete(v.entities, d.entity.addr)
		}
		v.leave(d)
		d.entity = shared
	case alone: // it is called otherwise, and the same
	default: // new, or split off
		v.leave(d)
		d.entity = v.entityAt(first, d.mac)
	}
	if d.asset = asset; asset != "" {
		v.byAsset[asset] = d.entity
	}
	if !slices.Contains(d.entity.devices, d) {
		d.entity.devices = append(d.entity.devices, d)
	}
}

// leave takes a device out of its entity.
func (v *Devices) leave(d *device) {
	if d.entity != nil {
		d.entity.devices = slices.DeleteFunc(d.entity.devices, func(x *device) bool { return x == d })
		d.entity = nil
	}
}

// entityAt returns a new entity: of an address, if that is nobody's yet, else of the
// device.
func (v *Devices) entityAt(a netip.Addr, mac [6]byte) *entity {
	if v.entities[a] != nil {
		a = standIn(kindDevice, mac[:])
	}
	if e := v.entities[a]; e != nil {
		return e // of this device, before
	}
	e := &entity{addr: a}
	v.entities[a] = e
	return e
}

// move puts a move where it belongs: records may be late.
func (d *device) move(m move) {
	i := 0
	for i < len(d.moves) && d.moves[i].from > m.from {
		i++
	}
	d.moves = slices.Insert(d.moves, i, m)
	d.moves = d.moves[:min(len(d.moves), mostMoves)]
}

// settle is move for the devices of an address.
func settle(all []tenancy, t tenancy) []tenancy {
	i := 0
	for i < len(all) && all[i].from > t.from {
		i++
	}
	all = slices.Insert(all, i, t)
	return all[:min(len(all), mostMoves)]
}

// forget makes room: the eighth that was given an address longest ago.
func (v *Devices) forget() {
	all := make([]*device, 0, len(v.byMAC))
	for _, d := range v.byMAC {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *device) int {
		return cmp.Or(cmp.Compare(a.moves[0].from, b.moves[0].from), slices.Compare(a.mac[:], b.mac[:]))
	})
	for _, d := range all[:len(all)/8] {
		v.drop(d)
		if v.tracking {
			v.gone = append(v.gone, d.mac)
		}
	}
	clear(v.strange)
}

// drop takes a device out.
func (v *Devices) drop(d *device) {
	delete(v.byMAC, d.mac)
	for _, m := range d.moves {
		rest := slices.DeleteFunc(v.tenants[m.hash], func(t tenancy) bool { return t.of == d })
		if v.tenants[m.hash] = rest; len(rest) == 0 {
			delete(v.tenants, m.hash)
		}
	}
	e := d.entity
	v.leave(d)
	if len(e.devices) == 0 {
		delete(v.entities, e.addr)
		if v.byAsset[d.asset] == e {
			delete(v.byAsset, d.asset)
		}
	}
}

func (v *Devices) touch(d *device) {
	if v.tracking && !d.marked {
		d.marked = true
		v.dirty = append(v.dirty, d)
	}
}

// What stands in for an address is an IPv6 address of a network that nobody has: of a
// device whose own is another one's entity, and of whoever has a device's address while
// that is elsewhere.
const (
	kindDevice byte = 1 + iota
	kindV4
	kindV6
)

// standInNetwork is a unique local network (RFC 4193) whose random bits are ours alone.
var standInNetwork = [8]byte{0xfd, 't', 'i', 'd', 'e', 'w', 0xe7, 0x1b}

// stands returns what a stands in for; 0 if it is an address itself.
func stands(a netip.Addr) (kind byte) {
	if b := a.As16(); a.Is6() && [8]byte(b[:8]) == standInNetwork {
		return b[8]
	}
	return 0
}

func standIn(kind byte, of []byte) netip.Addr {
	var b [16]byte
	copy(b[:], standInNetwork[:])
	b[8] = kind
	copy(b[16-min(len(of), 7):], of)
	return netip.AddrFrom16(b)
}

// stranger returns what stands for an address whose device is elsewhere.
func (v *Devices) stranger(a netip.Addr) netip.Addr {
	if a.Is4() {
		b := a.As4()
		return standIn(kindV4, b[:])
	}
	b := a.As16()
	h := event.HashAddr(a, 0, 0)
	for i := range 7 {
		b[i] = byte(h >> (8 * i))
	}
	s := standIn(kindV6, b[:7])
	if v.strange[s] != a {
		v.mu.Lock()
		if len(v.strange) >= maxDevices {
			clear(v.strange)
		}
		v.strange[s] = a
		v.mu.Unlock()
	}
	return s
}

// Seen returns the address that an entity had at a time, and reports whether it is
// another one than the entity's.
func (v *Devices) Seen(a netip.Addr, at int64) (netip.Addr, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch b := a.As16(); stands(a) {
	case kindV4:
		return netip.AddrFrom4([4]byte(b[12:])), true
	case kindV6:
		s, ok := v.strange[a]
		return s, ok
	}
	e := v.entities[a]
	if e == nil {
		return a, false
	}
	// An asset may have several at a time; of those it is known by its own.
	var best *move
	for _, d := range e.devices {
		switch m := d.at(at); {
		case m == nil:
		case m.addr == a:
			return a, false
		case best == nil || m.from > best.from:
			best = m
		}
	}
	if best == nil || best.addr == a {
		return a, false
	}
	return best.addr, true
}

// Entity returns the address of the entity that an address was at a time, in the VLAN 0:
// what the stores know it by.
func (v *Devices) Entity(a netip.Addr, at int64) netip.Addr {
	ev := event.Event{Time: at}
	ev.Orig = event.Host{Addr: a, Scope: event.ScopeLocal, Hash: event.HashAddr(a, 0, 0)}
	return v.resolve(&ev, &ev.Orig)
}

// Track makes Devices remember what changes, for Cut.
func (v *Devices) Track() { v.tracking = true }

// Cut returns the records of devices that changed since the last Cut, and those that were
// forgotten.
func (v *Devices) Cut() (rs []state.Record) {
	for _, mac := range v.gone {
		rs = append(rs, state.Record{Key: mac[:]})
	}
	for _, d := range v.dirty {
		d.marked = false
		if v.byMAC[d.mac] != d {
			continue
		}
		w := state.Writer{B: []byte{version}}
		w.Text(d.asset)
		w.Addr(d.entity.addr)
		w.U8(byte(len(d.moves)))
		for _, m := range d.moves {
			w.U64(m.hash)
			w.Addr(m.addr)
			w.I64(m.from)
		}
		rs = append(rs, state.Record{Key: slices.Clone(d.mac[:]), Value: w.B})
	}
	v.gone, v.dirty = v.gone[:0], v.dirty[:0]
	return rs
}

// Restore takes back a record that Cut returned. They may come in any order.
func (v *Devices) Restore(rec state.Record) error {
	if len(rec.Key) != 6 {
		return state.ErrRecord
	}
	if len(rec.Value) == 0 {
		return nil
	}
	r := &state.Reader{B: rec.Value}
	r.Version(version)
	d := &device{mac: [6]byte(rec.Key), asset: r.Text()}
	addr := r.Addr()
	n := int(r.U8())
	for range min(n, mostMoves) {
		d.moves = append(d.moves, move{r.U64(), r.Addr(), r.I64()})
	}
	if r.End(); r.Err != nil || n == 0 || n > mostMoves || !addr.IsValid() ||
		!slices.IsSortedFunc(d.moves, func(a, b move) int { return cmp.Compare(b.from, a.from) }) {
		return cmp.Or(r.Err, state.ErrRecord)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byMAC == nil {
		v.byMAC, v.byAsset, v.tenants = map[[6]byte]*device{}, map[string]*entity{}, map[uint64][]tenancy{}
		v.entities, v.strange = map[netip.Addr]*entity{}, map[netip.Addr]netip.Addr{}
	}
	if v.byMAC[d.mac] != nil || len(v.byMAC) >= maxDevices {
		return nil
	}
	v.byMAC[d.mac] = d
	if d.entity = v.entities[addr]; d.entity == nil {
		d.entity = &entity{addr: addr}
		v.entities[addr] = d.entity
	}
	d.entity.devices = append(d.entity.devices, d)
	if d.asset != "" {
		v.byAsset[d.asset] = d.entity
	}
	for _, m := range d.moves {
		v.tenants[m.hash] = settle(v.tenants[m.hash], tenancy{d, m.from})
	}
	return nil
}

// Forget forgets the devices that have or had an address. It returns how many those were.
func (v *Devices) Forget(a netip.Addr) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.byMAC {
		if d.entity.addr == a || slices.ContainsFunc(d.moves, func(m move) bool { return m.addr == a }) {
			v.drop(d)
			if v.tracking {
				v.gone = append(v.gone, d.mac)
			}
			n++
		}
	}
	clear(v.strange)
	return n
}

// Len returns how many devices are known.
func (v *Devices) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.byMAC)
}

// Present makes an observation tell of the addresses that its hosts had at its end, where
// they are known by others. The observation must be the caller's own.
func (v *Devices) Present(o *event.Observation) {
	for _, e := range []*event.Endpoint{&o.Source, &o.Destination} {
		if !e.Addr.IsValid() || e.Scope != event.ScopeLocal {
			continue
		}
		seen, other := v.sampled(e.Addr, o.Sample)
		if !seen.IsValid() {
			seen, other = v.Seen(e.Addr, o.End)
		}
		if !other {
			continue
		}
		e.Entity = e.Addr
		e.Addr = seen
		rename(o, e.Entity, seen)
		if stands(e.Entity) == 0 {
			o.Evidence = append(slices.Clip(o.Evidence), event.Evidence{
				Feature: o.Detector + ".moved", Observed: 1, Expected: 0,
				Text: seen.String() + " is the device that was known as " + e.Entity.String() + ", by DHCP: its past counts",
			})
		}
	}
	for i, a := range o.Related {
		if seen, other := v.Seen(a, o.End); other {
			o.Related = slices.Clone(o.Related)
			o.Related[i] = seen
		}
	}
	v.presentLists(o)
}

// presentLists is Present for lists of what was tried or answered, such as
// "10.0.0.7:445/tcp", and for texts that are addresses.
func (v *Devices) presentLists(o *event.Observation) {
	cloned := false
	for i := range o.Features {
		f := &o.Features[i]
		text, list := v.seenText(f.Text, o.End), f.List
		for j, s := range f.List {
			if t := v.seenText(s, o.End); t != s {
				if &list[0] == &f.List[0] {
					list = slices.Clone(list)
				}
				list[j] = t
			}
		}
		if text == f.Text && (len(list) == 0 || &list[0] == &f.List[0]) {
			continue
		}
		if !cloned {
			o.Features, cloned = slices.Clone(o.Features), true
		}
		o.Features[i].Text, o.Features[i].List = text, list
	}
}

// seenText returns a text that begins with the address of an entity, and is that or a port
// after it, with the address that it had at a time.
func (v *Devices) seenText(s string, at int64) string {
	if s == "" || s[0] != '[' && !isAddrByte(s[0]) {
		return s
	}
	head, rest, slash := strings.Cut(s, "/")
	if slash {
		rest = "/" + rest
	}
	if p, err := netip.ParseAddrPort(head); err == nil {
		if seen, other := v.Seen(p.Addr(), at); other {
			return netip.AddrPortFrom(seen, p.Port()).String() + rest
		}
	} else if a, err := netip.ParseAddr(head); err == nil {
		if seen, other := v.Seen(a, at); other {
			return seen.String() + rest
		}
	}
	return s
}

// sampled returns the address that an entity has in the latest record that shows it, and
// reports whether it is another one than the entity's. It is not valid if there is none.
func (v *Devices) sampled(a netip.Addr, all []event.Sample) (netip.Addr, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e := v.entities[a]
	if e == nil {
		return netip.Addr{}, false
	}
	var latest netip.Addr
	at := int64(math.MinInt64)
	for i := range all {
		for _, seen := range [2]netip.Addr{all[i].Orig.Addr(), all[i].Resp.Addr()} {
			if all[i].Time >= at && slices.ContainsFunc(e.devices, func(d *device) bool { m := d.at(all[i].Time); return m != nil && m.addr == seen }) {
				latest, at = seen, all[i].Time
			}
		}
	}
	return latest, latest.IsValid() && latest != a
}

// rename writes another address into the texts of an observation.
func rename(o *event.Observation, from, to netip.Addr) {
	a, b := from.String(), to.String()
	o.Subject.Value, o.Reason, o.Baseline.Text = replaced(o.Subject.Value, a, b), replaced(o.Reason, a, b), replaced(o.Baseline.Text, a, b)
	o.Evidence = slices.Clone(o.Evidence)
	for i := range o.Evidence {
		o.Evidence[i].Text = replaced(o.Evidence[i].Text, a, b)
	}
}

// replaced replaces an address in a text, where it is a whole one.
func replaced(s, from, to string) string {
	if !strings.Contains(s, from) {
		return s
	}
	var b strings.Builder
	for {
		i := strings.Index(s, from)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len(from)
		whole := (i == 0 || !isAddrByte(s[i-1])) && (end == len(s) || !isAddrByte(s[end]) || (s[end] == '.' || s[end] == ':') && (end+1 == len(s) || s[end] == ':' && !strings.Contains(from, ":") || !isAddrByte(s[end+1])))
		b.WriteString(s[:i])
		if whole {
			b.WriteString(to)
		} else {
			b.WriteString(from)
		}
		s = s[end:]
	}
}

func isAddrByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || c == '.' || c == ':'
}
