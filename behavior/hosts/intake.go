package hosts

import (
	"math"
	"time"

	"tidewatch/behavior/sketch"
	"tidewatch/behavior/state"
)

// intakePace is how what a host reads in a day is learned: from log(1+bytes).
var intakePace = sketch.Pace{Tau: 14 * 24 * time.Hour, Floor: 0.7}

// enoughDays is how many days an intake's expectation must rest on.
const enoughDays = 3

// intake is what a host reads from other own hosts: payload bytes that it got over
// connections which it opened, by days, UTC. Who collects data before he takes them out
// reads more than the host ever did.
type intake struct {
	day           int32 // days since 1970; 0: nothing yet
	today, before uint64
	usual         sketch.Moments // of log(1+bytes) of the days on which there were any
}

// add counts bytes at a time.
func (i *intake) add(bytes uint64, at int64) {
	i.roll(int32(at / day))
	if int32(at/day) >= i.day {
		i.today += bytes
	}
}

// roll closes the day that is over. A clock that is behind by a day or two changes
// nothing; one that is further behind says that the day was wrong.
func (i *intake) roll(today int32) {
	if today <= i.day && today >= i.day-2 {
		return
	}
	if i.today > 0 && today > i.day {
		x := math.Log1p(float64(i.today))
		i.usual.Update(x, int64(i.day+1)*day, intakePace, i.usual.Weight() >= enoughDays && i.usual.Score(x, intakePace.Floor) > suspiciousFrom)
	}
	i.before = 0
	if today == i.day+1 {
		i.before = i.today
	}
	i.day, i.today = today, 0
}

// merge adds what another sensor counted. Of one day the larger count is kept: both may
// have seen the same.
func (i *intake) merge(o *intake) {
	switch {
	case o.day > i.day:
		i.day, i.today, i.before = o.day, o.today, o.before
	case o.day == i.day:
		i.today, i.before = max(i.today, o.today), max(i.before, o.before)
	}
	i.usual.Merge(&o.usual, intakePace)
}

func (i *intake) write(w *state.Writer) {
	w.U32(uint32(i.day))
	w.U64(i.today)
	w.U64(i.before)
	w.B = i.usual.Append(w.B)
}

func (i *intake) read(r *state.Reader) {
	i.day, i.today, i.before = int32(r.U32()), r.U64(), r.U64()
	r.Decode(&i.usual)
	if i.day < 0 {
		r.Err = state.ErrRecord
	}
}

// Intake returns what the host has read from own hosts on the day of a time and on the
// one before, the larger of the two in bytes, with what it usually reads in a day, and
// how many sigmas it is above that. It is not ok while fewer than three days are known.
func (h *Host) Intake(at int64) (bytes, usual, sigmas float64, ok bool) {
	i, today := &h.intake, int32(at/day)
	if i.usual.Weight() < enoughDays {
		return 0, 0, 0, false
	}
	switch today {
	case i.day:
		bytes = float64(max(i.today, i.before))
	case i.day + 1:
		bytes = float64(i.today)
	}
	return bytes, math.Expm1(i.usual.Mean()), i.usual.Score(math.Log1p(bytes), intakePace.Floor), true
}
