package state

// Size says how many entities of one kind are kept, and how many at most.
type Size struct {
	Kind       string // such as "hosts", a constant
	Count, Cap int
}
