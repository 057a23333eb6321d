package state

// maxLookups bounds how many keys a Lookup holds: an attacker can invent entities
// faster than a store answers.
const maxLookups = 1 << 16

// Lookup collects the keys of entities that begin empty, for somebody who fetches what
// a store has of them. The zero Lookup collects nothing.
type Lookup struct {
	on   bool
	keys [][]byte
}

// Start makes the Lookup collect.
func (l *Lookup) Start() { l.on = true }

// On reports whether it does.
func (l *Lookup) On() bool { return l.on }

// Want takes the key of an entity that begins, which it keeps. It reports whether the
// entity is to be fetched: not where nobody fetches, or where too many wait.
func (l *Lookup) Want(key []byte) bool {
	if !l.on || len(l.keys) >= maxLookups {
		return false
	}
	l.keys = append(l.keys, key)
	return true
}

// Take returns the keys that were collected since it was called last.
func (l *Lookup) Take() [][]byte {
	keys := l.keys
	l.keys = nil
	return keys
}
