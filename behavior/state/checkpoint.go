package state

// Section is a part of the state that is committed together.
type Section byte

// The sections of a Checkpoint. Their numbers are stored: new ones go to the end.
const (
	Positions   Section = iota // how far each source has been read
	Entities                   // what detectors know of each entity
	Suppression                // what was said already
	Joined                     // connections that one of two sensors has reported
	Population                 // what far ends are called and who uses them
	Devices                    // which device had which address
	NumSections
)

// String returns the section's name.
func (s Section) String() string {
	if int(s) < len(sectionNames) {
		return sectionNames[s]
	}
	return "unknown"
}

var sectionNames = [NumSections]string{"positions", "entities", "suppression", "joined", "population", "devices"}

// Checkpoint is what changed in the state of the world in one epoch. A record
// replaces the one with the same key in its section; one without a value removes it.
type Checkpoint struct {
	Epoch   uint64 // counts on over restarts
	Changed [NumSections][]Record
}
