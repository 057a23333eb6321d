package population

import (
	"math"

	"tidewatch/behavior/sketch"
	"tidewatch/event"
)

const (
	windowDays = 30 // event.Use counts the hosts of so many days
	periodDays = 15 // of one generation of a crowd
	inlineSize = 6  // hosts that are counted exactly
	daySecs    = 24 * 60 * 60
	// bucketSecs is how exactly last uses are kept. It keeps entries that are used
	// all the time from being written with each cut.
	bucketSecs = 10 * 60
)

// moment is the time of a record in the units that are kept.
type moment struct {
	ns     int64 // Unix nanoseconds, at least 1
	secs   uint32
	bucket uint32 // the seconds of the ten minutes' beginning
	day    uint16 // since 1970
}

func momentOf(ns int64) moment {
	ns = max(ns, 1)
	secs := uint32(min(ns/1e9, math.MaxUint32))
	return moment{ns: ns, secs: secs, bucket: secs - secs%bucketSecs, day: uint16(secs / daySecs)}
}

// within reports whether a day is in the window that ends at today. Days after it
// are: records are not in order.
func within(day, today uint16) bool { return int(day) > int(today)-windowDays }

// uses says of keys, by which hosts each is used and since when. What one host uses
// is light; a second host, or one that comes back another day, makes it
// harder to evict. It takes 25 bytes for what is light, 65 for the rest and at most
// 1.2 KiB more for what more than six hosts use.
type uses struct {
	light  table[lightUse]
	wide   table[wideUse]
	crowds crowds
}

// lightUse is something that one host uses, or none that is local.
type lightUse struct {
	first int64  // Unix nanoseconds
	last  uint32 // a bucket of Unix seconds
	host  uint32 // 0: none
}

// lightWorth ranks what was used on two days before what was not, as long as the
// window has not passed, and then the last use.
func lightWorth(e *lightUse, now uint32) uint64 {
	w := uint64(e.last)
	if int64(e.last)-e.first/1e9 >= daySecs && now < e.last+windowDays*daySecs {
		w |= 1 << 32
	}
	return w
}

// wideUse is something that several hosts use: up to six of them, or a crowd. It fills
// a line of the cache.
type wideUse struct {
	first  int64
	hosts  [inlineSize]uint32
	days   [inlineSize]uint16 // of each host's last use
	n      uint16             // hosts inline; 0 beside a crowd
	period uint16             // of the crowd, as it has it, with
	size   uint32             // how many are in it
	last   uint32
	crowd  uint32 // index; 0: none
}

func wideWorth(e *wideUse, now uint32) uint64 {
	w := uint64(e.last)
	switch {
	case now >= e.last+windowDays*daySecs:
	case e.crowd != 0:
		w |= 2 << 32
	default:
		w |= 1 << 32
	}
	return w
}

// newUses returns uses of at most so many entries.
func newUses(light, wide, crowd int) *uses {
	u := &uses{light: newTable(light, lightWorth), wide: newTable(wide, wideWorth), crowds: crowds{limit: crowd}}
	u.wide.lost = func(e *wideUse) { u.crowds.drop(e.crowd) }
	return u
}

// has reports whether a key is known.
func (u *uses) has(key uint64) bool {
	if e, _ := u.wide.find(key); e != nil {
		return true
	}
	e, _ := u.light.find(key)
	return e != nil
}

// near reads where the entry of a key is looked for.
func (u *uses) near(key uint64) uint64 { return u.wide.near(key) + u.light.near(key) }

// read reads the entry of a key and what it needs to be used by a record's host.
func (u *uses) read(key uint64, v *sight) uint64 {
	if e, _ := u.wide.find(key); e != nil {
		return uint64(e.first) + u.crowds.near(e.crowd, v.host, v.at.day/periodDays)
	}
	if e, _ := u.light.find(key); e != nil {
		return uint64(e.first)
	}
	return 0
}

// look returns the use of a key without counting anything.
func (u *uses) look(key uint64, day uint16) event.Use {
	if e, _ := u.wide.find(key); e != nil {
		return event.Use{Hosts: u.hosts(e, day), First: e.first}
	}
	if e, _ := u.light.find(key); e != nil {
		return event.Use{Hosts: min(e.host, 1), First: e.first}
	}
	return event.Use{}
}

// count adds a record of a host about a key, host 0 for none, and returns the use
// with it.
func (u *uses) count(key uint64, host uint32, at moment) event.Use {
	if e, r := u.wide.find(key); e != nil {
		use := event.Use{First: e.first}
		u.add(e, r, host, at)
		use.Hosts = u.hosts(e, at.day)
		return use
	}
	e, r := u.light.find(key)
	if e == nil {
		e = u.light.insert(key, at.secs)
		*e = lightUse{first: at.ns, last: at.bucket, host: host}
		return event.Use{Hosts: min(host, 1)}
	}
	use := event.Use{Hosts: 1, First: e.first}
	switch {
	case host == e.host:
	case host == 0:
	case e.host == 0:
		e.host = host
		u.light.touch(r)
	default:
		return u.widen(key, r, host, at)
	}
	if e.host == 0 {
		use.Hosts = 0
	}
	if at.bucket > e.last {
		e.last = at.bucket
		u.light.touch(r)
	}
	if at.ns < e.first {
		e.first = at.ns
		u.light.touch(r)
	}
	return use
}

// widen makes a light entry one of several hosts.
func (u *uses) widen(key uint64, r ref, host uint32, at moment) event.Use {
	old, _ := u.light.find(key)
	l := *old
	u.light.remove(r)
	e := u.wide.insert(key, at.secs)
	*e = wideUse{first: l.first, last: l.last, n: 1}
	e.hosts[0], e.days[0] = l.host, uint16(l.last/daySecs)
	_, wr := u.wide.find(key)
	u.add(e, wr, host, at)
	return event.Use{Hosts: u.hosts(e, at.day), First: l.first}
}

// since says that a key was first used no later than first.
func (u *uses) since(key uint64, first int64) {
	if e, r := u.light.find(key); e != nil && first < e.first {
		e.first = first
		u.light.touch(r)
	}
}

// add adds a use by a host to an entry.
func (u *uses) add(e *wideUse, r ref, host uint32, at moment) {
	changed := false
	if at.bucket > e.last {
		e.last, changed = at.bucket, true
	}
	if at.ns < e.first {
		e.first, changed = at.ns, true
	}
	switch {
	case host == 0:
	case e.crowd != 0:
		changed = u.addCrowd(e, host, at.day) || changed
	default:
		changed = u.addInline(e, host, at.day) || changed
	}
	if changed {
		u.wide.touch(r)
	}
}

// addInline adds a host to an entry without a crowd; the seventh within the window
// makes one. Where crowds have run out, it takes the place of the one that has been
// away longest.
func (u *uses) addInline(e *wideUse, host uint32, day uint16) bool {
	oldest := 0
	for i := range int(e.n) {
		if e.hosts[i] == host {
			later := day > e.days[i]
			e.days[i] = max(e.days[i], day)
			return later
		}
		if e.days[i] < e.days[oldest] || e.days[i] == e.days[oldest] && e.hosts[i] < e.hosts[oldest] {
			oldest = i
		}
	}
	at := int(e.n)
	switch {
	case e.n < inlineSize:
		e.n++
	case !within(e.days[oldest], day):
		at = oldest
	default:
		if c := u.crowds.take(); c != 0 {
			for i := range e.hosts {
				if within(e.days[i], day) {
					u.crowds.slab[c].add(e.hosts[i], e.days[i]/periodDays)
				}
			}
			u.crowds.slab[c].add(host, day/periodDays)
			e.n, e.hosts, e.days = 0, [inlineSize]uint32{}, [inlineSize]uint16{}
			e.join(c, &u.crowds.slab[c])
			return true
		}
		at = oldest
	}
	e.hosts[at], e.days[at] = host, day
	return true
}

// addCrowd adds a host to the entry's crowd.
func (u *uses) addCrowd(e *wideUse, host uint32, day uint16) bool {
	period := day / periodDays
	if u.crowds.added(e.crowd, host, period) {
		return false
	}
	c := &u.crowds.slab[e.crowd]
	changed := c.add(host, period)
	e.join(e.crowd, c)
	return changed
}

// join takes over what the entry says of its crowd.
func (e *wideUse) join(i uint32, c *crowd) { e.crowd, e.period, e.size = i, c.period, c.count }

// hosts counts the hosts within the window.
func (u *uses) hosts(e *wideUse, day uint16) (n uint32) {
	switch {
	case e.crowd == 0:
	case day/periodDays > e.period+1:
		return 0
	default:
		return e.size
	}
	for _, d := range e.days[:e.n] {
		if within(d, day) {
			n++
		}
	}
	return n
}

// crowd counts many hosts in two generations of 15 days: those of this one, and
// those of this and the last one. So a host counts for 15 to 30 days.
type crowd struct {
	both, now sketch.Distinct
	count     uint32 // of both
	period    uint16 // days since 1970 / periodDays
}

// add adds a host and reports whether anything changed. The result does not depend on
// the order of calls.
func (c *crowd) add(host uint32, period uint16) bool {
	turned := period > c.period
	switch {
	case period == c.period+1:
		c.both, c.now = c.now, sketch.Distinct{}
		c.period = period
	case turned:
		*c = crowd{period: period}
	}
	h := mix(uint64(host))
	switch {
	case period == c.period:
		if !c.now.Add(h) {
			return turned // both has what now has
		}
	case int(period)+1 < int(c.period):
		return false
	}
	grown := c.both.Add(h) || turned
	if grown {
		c.recount()
	}
	return grown || period == c.period
}

func (c *crowd) recount() { c.count = uint32(math.Round(c.both.Count())) }

// crowds is a slab of crowds. The first is never used.
type crowds struct {
	slab  []crowd
	free  []uint32
	limit int
	// recent are some of those that are in a crowd since some period: they need not be
	// added again. It has an entry for each hash of a host, crowd and period, or is nil.
	recent []uint64
}

// recentBits is the logarithm of how many a crowds remembers: no more than what the
// processor has near.
const recentBits = 15

// added reports whether a host is known to have been added to a crowd in a period, and
// knows it from now on.
func (c *crowds) added(i, host uint32, period uint16) bool {
	if i > math.MaxUint16 {
		return false
	}
	if c.recent == nil {
		c.recent = make([]uint64, 1<<recentBits)
	}
	is, at := membership(i, host, period)
	was := c.recent[at]
	c.recent[at] = is
	return was == is
}

// membership is the entry of recent for a host in a crowd, and its place.
func membership(i, host uint32, period uint16) (is uint64, at int) {
	is = uint64(host)<<32 | uint64(i)<<16 | uint64(period)
	return is, int(is * 0x9e3779b97f4a7c15 >> (64 - recentBits))
}

// near reads what added asks for, and the crowd if it will be needed.
func (c *crowds) near(i, host uint32, period uint16) uint64 {
	if i == 0 || c.recent == nil {
		return 0
	}
	is, at := membership(i, host, period)
	if c.recent[at] == is {
		return is
	}
	return uint64(c.slab[i].count)
}

// take returns an empty crowd, 0 if there are limit of them.
func (c *crowds) take() uint32 {
	if n := len(c.free); n > 0 {
		i := c.free[n-1]
		c.free = c.free[:n-1]
		clear(c.recent) // some may be about its last life
		return i
	}
	if len(c.slab) > c.limit {
		return 0
	}
	if len(c.slab) == 0 {
		c.slab = append(c.slab, crowd{})
	}
	c.slab = append(c.slab, crowd{})
	return uint32(len(c.slab) - 1)
}

func (c *crowds) drop(i uint32) {
	if i != 0 {
		c.slab[i] = crowd{}
		c.free = append(c.free, i)
	}
}
