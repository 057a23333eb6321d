package event

import (
	"testing"
	"unsafe"
)

func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Event{}); n > 400 {
		t.Errorf("an Event takes %d bytes, want at most 400", n)
	} else {
		t.Logf("event %d", n)
	}
}
