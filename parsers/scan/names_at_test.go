package scan

import (
	"math/rand/v2"
	"testing"
)

// A name stands where its text does, and nowhere else: each text with one bit
// changed is another.
func TestNameAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := NewNames([]string{"ts", "src_ip", "event_type", "software_version", "a_name_of_twentyone_b", "one_that_is_longer_than_words"}, nil)
	for i := range n.list {
		e := &n.list[i]
		line := make([]byte, 64)
		for range 2000 {
			for k := range line {
				line[k] = byte(r.Uint32())
			}
			copy(line, e.text)
			if i > 0 && len(e.text) <= 24 && !e.at(line, 0) {
				t.Fatalf("%q is not found in %q", e.text, line)
			}
			if len(e.text) > 0 {
				k := r.IntN(len(e.text))
				for range 1 + r.IntN(4) {
					line[k] ^= 1 << r.IntN(8)
				}
			}
			if string(line[:len(e.text)]) != e.text && e.at(line, 0) || i == 0 && e.at(line, 0) {
				t.Fatalf("%q is found in %q", e.text, line)
			}
		}
	}
	// Differences that lie under the bits of the word after.
	for i := 1; i < len(n.list); i++ {
		e := &n.list[i]
		if len(e.text) > 24 || len(e.text) <= 8 {
			continue
		}
		line := make([]byte, 64)
		copy(line, e.text)
		for k := 8; k < len(e.text); k++ {
			line[k-8] ^= e.text[k]
		}
		if e.at(line, 0) {
			t.Errorf("%q is found in %q", e.text, line)
		}
	}
}
