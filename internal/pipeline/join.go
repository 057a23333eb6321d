package pipeline

import (
	"encoding/binary"
	"fmt"

	"tidewatch/behavior"
	"tidewatch/event"
)

const (
	// joinTolerance is how far apart two sensors on one link may date the start
	// of a connection.
	joinTolerance = 3e9 // nanoseconds
	// joinSize is how many connections a Joiner remembers at most, twice. A
	// connection is forgotten once this many others came after it.
	joinSize = 1 << 17
)

// Joiner recognises the connection that two sensors on one link report both, by
// its community id (Event.ConnHash stands for it) and its start. It marks the
// later record with event.FlagJoined. The zero Joiner is ready.
//
// It is called where events have one order, so that its answer does not depend on
// the number of shards. Its memory is bounded by two generations.
type Joiner struct {
	// While one sensor alone has spoken, its connections go into a ring, which is
	// cheap, and into the maps when another one begins.
	first   event.Sensor
	ring    []ringEntry
	head    int
	several bool

	now, old   map[joinKey]joinEntry
	generation uint32 // of now; that of old is the one before
	joined     uint64
	tracking   bool
	fresh      []storedKey // changed since the last Cut, if tracking
}

// storedKey is a connection tuple in one generation.
type storedKey struct {
	joinKey
	generation uint32
}

// ringEntry is a connection of the first sensor.
type ringEntry struct {
	conn  uint64
	start int64
}

// joinKey is one connection tuple as one sensor reported it.
type joinKey struct {
	conn   uint64
	sensor event.Sensor
}

// joinEntry holds the starts, in Unix nanoseconds, of the last connections with
// one tuple that no other sensor has reported yet.
type joinEntry struct {
	starts [3]int64
	n      uint8
}

// Join marks those events whose connection another sensor reported before.
func (j *Joiner) Join(evs []*event.Event) {
	for _, ev := range evs {
		if ev.Kind != event.KindConn || ev.Flags&event.FlagSnapshot != 0 {
			continue
		}
		if !j.several && j.alone(ev) {
			continue
		}
		other := event.SensorZeek
		if ev.Sensor == event.SensorZeek {
			other = event.SensorSuricata
		}
		if j.match(joinKey{ev.ConnHash, other}, ev.Time) {
			ev.Flags |= event.FlagJoined
			j.joined++
		} else {
			j.put(joinKey{ev.ConnHash, ev.Sensor}, ev.Time)
		}
	}
}

// alone puts a connection aside while there is one sensor only, and reports
// whether that is so.
func (j *Joiner) alone(ev *event.Event) bool {
	if j.first == event.SensorUnknown {
		j.first = ev.Sensor
	}
	if ev.Sensor != j.first || j.tracking {
		j.several = true
		if j.now == nil {
			j.now = make(map[joinKey]joinEntry)
		}
		for i := range j.ring {
			e := &j.ring[(j.head+i)%len(j.ring)]
			j.put(joinKey{e.conn, j.first}, e.start)
		}
		j.ring = nil
		return false
	}
	if len(j.ring) < joinSize {
		j.ring = append(j.ring, ringEntry{ev.ConnHash, ev.Time})
		return true
	}
	j.ring[j.head] = ringEntry{ev.ConnHash, ev.Time}
	if j.head++; j.head == joinSize {
		j.head = 0
	}
	return true
}

// match takes out a connection of key that began at about start.
func (j *Joiner) match(key joinKey, start int64) bool {
	for age, m := range [...]map[joinKey]joinEntry{j.now, j.old} {
		e, ok := m[key]
		if !ok {
			continue
		}
		for i := range int(e.n) {
			if d := e.starts[i] - start; d < -joinTolerance || d > joinTolerance {
				continue
			}
			copy(e.starts[i:], e.starts[i+1:e.n])
			e.n--
			if e.n == 0 {
				delete(m, key)
			} else {
				m[key] = e
			}
			j.touch(key, j.generation-uint32(age))
			return true
		}
	}
	return false
}

func (j *Joiner) put(key joinKey, start int64) {
	e, known := j.now[key]
	if !known && len(j.now) >= joinSize {
		j.turn()
	}
	if int(e.n) == len(e.starts) {
		copy(e.starts[:], e.starts[1:])
		e.n--
	}
	e.starts[e.n] = start
	e.n++
	j.now[key] = e
	j.touch(key, j.generation)
}

// turn begins a generation, and forgets the last but one.
func (j *Joiner) turn() {
	j.now, j.old = j.old, j.now
	if j.now == nil {
		j.now = make(map[joinKey]joinEntry)
	}
	if j.tracking {
		for k := range j.now {
			j.touch(k, j.generation-1)
		}
	}
	clear(j.now)
	j.generation++
}

func (j *Joiner) touch(key joinKey, generation uint32) {
	if j.tracking {
		j.fresh = append(j.fresh, storedKey{key, generation})
	}
}

// Joined returns how many connections were reported twice.
func (j *Joiner) Joined() uint64 { return j.joined }

// Track makes the Joiner remember what changes, for Cut.
func (j *Joiner) Track() { j.tracking = true }

// Cut returns the connections that changed since the last Cut, and those that were
// forgotten.
func (j *Joiner) Cut() []behavior.Record {
	rs := make([]behavior.Record, 0, len(j.fresh))
	for _, k := range j.fresh {
		var e joinEntry
		switch j.generation - k.generation {
		case 0:
			e = j.now[k.joinKey]
		case 1:
			e = j.old[k.joinKey]
		}
		rs = append(rs, behavior.Record{Key: k.bytes(), Value: e.bytes()})
	}
	j.fresh = j.fresh[:0]
	return rs
}

// Restore takes back a record that Cut returned. They may come in any order.
func (j *Joiner) Restore(r behavior.Record) error {
	if len(r.Key) != 13 || len(r.Value)%8 != 0 || len(r.Value) > 8*len(joinEntry{}.starts) {
		return fmt.Errorf("joined connection: key of %d and value of %d bytes", len(r.Key), len(r.Value))
	}
	if len(r.Value) == 0 {
		return nil
	}
	if !j.several {
		j.several, j.now, j.old = true, map[joinKey]joinEntry{}, map[joinKey]joinEntry{}
		j.generation = binary.LittleEndian.Uint32(r.Key[9:])
	}
	k := joinKey{conn: binary.LittleEndian.Uint64(r.Key), sensor: event.Sensor(r.Key[8])}
	into := j.now
	switch int32(binary.LittleEndian.Uint32(r.Key[9:]) - j.generation) {
	case 0:
	case 1:
		j.now, j.old = j.old, j.now
		j.generation++
		into = j.now
	case -1:
		into = j.old
	default:
		return fmt.Errorf("joined connection: of generation %d beside %d", binary.LittleEndian.Uint32(r.Key[9:]), j.generation)
	}
	var e joinEntry
	for v := r.Value; len(v) > 0; v = v[8:] {
		e.starts[e.n] = int64(binary.LittleEndian.Uint64(v))
		e.n++
	}
	into[k] = e
	return nil
}

func (k storedKey) bytes() []byte {
	b := append(binary.LittleEndian.AppendUint64(make([]byte, 0, 13), k.conn), byte(k.sensor))
	return binary.LittleEndian.AppendUint32(b, k.generation)
}

func (e joinEntry) bytes() []byte {
	var b []byte
	for _, s := range e.starts[:e.n] {
		b = binary.LittleEndian.AppendUint64(b, uint64(s))
	}
	return b
}
