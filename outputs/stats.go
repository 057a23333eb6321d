package outputs

// Stats is how an output to a server has done since the start.
type Stats struct {
	Delivered   uint64 // documents or findings that the server took
	Retries     uint64 // times that one had to be sent again
	DeadLetters uint64
	// Trouble is why nothing is taken just now, in one printable line; "" if all is
	// well.
	Trouble string
}
