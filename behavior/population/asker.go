package population

import (
	"tidewatch/behavior/state"
	"tidewatch/event"
)

// asker is since when DNS has given addresses to a local host, and until when: buckets of
// Unix seconds.
type asker struct{ first, last uint32 }

func askerWorth(a *asker, _ uint32) uint64 { return uint64(a.last) }

// askLead is how long a host has to have been known to ask before a connection without a
// name means something, in seconds: until then it may have asked before anybody looked.
const askLead = hourSecs

// asks notes that a record of DNS gives addresses to its originator.
func (p *Population) asks(v *sight) {
	if v.from == v.to || v.ev.Orig.Scope != event.ScopeLocal {
		return
	}
	key := keyed(v.ev.Orig.Hash)
	a, r := p.askers.find(key)
	switch {
	case a == nil:
		*p.askers.insert(key, v.at.secs) = asker{v.at.bucket, v.at.bucket}
		return
	case v.at.bucket-a.last > 2*daySecs && v.at.bucket > a.last: // it did not ask here meanwhile
		*a = asker{v.at.bucket, v.at.bucket}
	case v.at.bucket > a.last:
		a.last = v.at.bucket
	default:
		return
	}
	p.askers.touch(r)
}

// unasked reports whether a connection to the outside goes to an address for which its
// originator has no name, although it is one of those that ask for names where the
// sensor sees it: for an hour at least, and within the last day.
func (p *Population) unasked(v *sight) bool {
	ev := v.ev
	if ev.Kind != event.KindConn || v.host == 0 || ev.Orig.Scope != event.ScopeLocal || ev.Resp.Scope != event.ScopeExternal {
		return false
	}
	a, _ := p.askers.find(keyed(ev.Orig.Hash))
	return a != nil && v.at.secs >= a.first+askLead && v.at.secs <= a.last+daySecs
}

func writeAsker(w *state.Writer, a *asker) {
	w.U32(a.first)
	w.U32(a.last)
}

func readAsker(r *state.Reader) asker { return asker{r.U32(), r.U32()} }

// merge is the whole time in which either says that the host asks.
func (a *asker) merge(b asker) {
	a.first, a.last = min(a.first, b.first), max(a.last, b.last)
}
