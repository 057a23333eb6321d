package tempo

import (
	"math"
	"math/bits"
)

// Channel says which gaps a result speaks of.
type Channel uint8

const (
	ChannelNone     Channel = iota
	ChannelSessions         // between sessions more than 1 s apart
	ChannelBursts           // between sessions more than 30 s apart
)

func (c Channel) String() string {
	switch c {
	case ChannelSessions:
		return "sessions"
	case ChannelBursts:
		return "bursts"
	}
	return "none"
}

// Form is the kind of explanation that a result gives.
type Form uint8

const (
	FormNone      Form = iota
	FormTimer          // one timer
	FormTwoTimers      // one for the short gaps and one for the long
	FormWindows        // narrow windows hold most gaps
	FormRecent         // one timer, since the last 16 sessions
)

var formNames = [...]string{"none", "timer", "two timers", "windows", "recent timer"}

func (f Form) String() string { return formNames[f] }

// Result says whether a timer makes the sessions of a Track, and which.
type Result struct {
	// Score is 0 to 1, from the times alone; 0.5 and more at two looks in a row is
	// a timer.
	Score float64
	// Fused is 0 to 1: Score with the regularity of sizes and the persistence.
	Fused float64
	// LogOdds is the evidence, in nats: how much likelier the gaps are under timers
	// than under irregular processes, both averaged over all that they may be. The
	// size of the effect is PerGap.
	LogOdds float64
	PerGap  float64
	Gaps    int // that were used

	Channel Channel
	Form    Form
	Lag     int // 1 to 3 sessions from one end of a gap to the other
	// Windows is 0 if one timer explains the gaps, otherwise how many narrow
	// windows of gaps hold Coverage of them all: several periods, or one among
	// other traffic.
	Windows  int
	Coverage float64

	// Period is the mean sleep in seconds, and Jitter how far a sleep strays from
	// it to both sides, as a share. A timer that only shortens its sleep S by up
	// to a share c has Period S(1-c/2) and Jitter c/(2-c): from gaps the two are
	// the same process.
	Period float64
	Jitter float64
	Missed float64 // share of check-ins that did not come
	// Irregular is the family of the best irregular process.
	Irregular string

	SizeScore float64 // 0 to 1: how alike the sizes of the last sessions are
	Hours     int     // distinct hours of the week
	Periods   float64 // from the first start to the last
	Next      int64   // when the next session is due, Unix nanoseconds; 0: unknown

	lo, hi int16   // bins of one sleep
	fair   float64 // LogOdds of at most enoughGaps
	sized  bool    // SizeScore is known
}

// Sleep returns the result in the words of a timer that only shortens its sleep:
// the longest sleep in seconds, and by which share it is shortened at most.
func (r *Result) Sleep() (seconds, shortened float64) {
	return r.Period * (1 + r.Jitter), 2 * r.Jitter / (1 + r.Jitter)
}

// context is what is known apart from the gaps.
func (r *Result) context(t *Track, p *past) {
	for _, b := range p.week {
		r.Hours += bits.OnesCount8(b)
	}
	r.SizeScore, r.sized = t.sizeScore()
}

// sizeScore says how narrow the shortest interval is, on a logarithmic scale, that
// holds half of the last sizes (the shorth): 1 if they are equal, 0 from one octave
// on.
func (t *Track) sizeScore() (score float64, known bool) {
	var v [ringSize]float64
	n := int(t.held)
	if n < fewestGaps {
		return 0, false
	}
	for i, b := range t.bytes[:n] {
		x := math.Log2(float64(b) + 1)
		j := i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
	half := n/2 + 1
	width := math.Inf(1)
	for i := 0; i+half <= n; i++ {
		width = min(width, v[i+half-1]-v[i])
	}
	return max(1-width, 0), true
}

// The regularity of sizes and the persistence as odds, in nats. What people do has
// varied sizes more often than what timers do; but so much of what is no timer has
// constant sizes that they say little. They are choices, not measured.
const (
	sizeOdds    = 1.8 // from sizes that vary by an octave and more to equal ones
	unlikeSizes = -1.2
	hoursOdds   = 0.5 // from none to enoughHours
	enoughHours = 8
)

// fuse turns the odds into scores.
func (r *Result) fuse() {
	r.Score = sigmoid(r.fair)
	odds := r.fair + hoursOdds*min(float64(r.Hours)/enoughHours, 1)
	if r.sized {
		odds += unlikeSizes + sizeOdds*r.SizeScore
	}
	r.Fused = sigmoid(odds)
}
