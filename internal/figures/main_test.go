package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the README shows is what its commands print.
func TestREADME(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	want, err := quote(text, func(command string) ([]byte, error) {
		if !strings.HasPrefix(command, "go run ./cmd/tidewatch ") {
			return nil, errors.New("the test does not run this")
		}
		n++
		return shell(command)
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), string(want)); d != "" {
		t.Errorf("make figures brings it up to date (-README +output):\n%s", d)
	}
	if n < 2 {
		t.Errorf("the README shows %d commands with their output", n)
	}
}

func TestQuote(t *testing.T) {
	in := "a\n```\nplain\n```\n```\n$ one\nold\n```\nb\n```\n$ two\n```\n"
	got, err := quote([]byte(in), func(c string) ([]byte, error) { return []byte(c + "!\ntook 3ms, x\n\n"), nil })
	if want := "a\n```\nplain\n```\n```\n$ one\none!\n```\nb\n```\n$ two\ntwo!\n```\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	got, err = quote([]byte(in), func(string) ([]byte, error) { return nil, errors.New("no") })
	if err == nil || !bytes.Equal(got, []byte(in)) {
		t.Errorf("a failing command gives %q, %v", got, err)
	}
}
