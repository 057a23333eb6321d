package event

import "net/netip"

// Sought is a value that somebody wants to know of whether it was met.
type Sought struct {
	Kind  SoughtKind
	Value string // a name in lower case, or a fingerprint; of addresses as it is written
	Addr  netip.Addr
}

// SoughtKind says what a value is.
type SoughtKind uint8

const (
	SoughtAddress     SoughtKind = iota
	SoughtName                   // and all names below it
	SoughtFingerprint            // JA3, JA4
)

// String returns "address", "name" or "fingerprint".
func (k SoughtKind) String() string { return [...]string{"address", "name", "fingerprint"}[k%3] }
