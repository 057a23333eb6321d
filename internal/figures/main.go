// Command figures runs the commands that documents quote and writes what they print
// into the documents: a code block whose first line is "$ COMMAND" holds its output.
// What differs from run to run for no reason, the time that analyze took, is left
// out.
//
//	go run ./internal/figures README.md docs/*.md
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("figures: ")
	for _, name := range os.Args[1:] {
		old, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		text, err := quote(old, shell)
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(old, text) {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				log.Fatal(err)
			}
			fmt.Println(name, "has new figures")
		}
	}
}

var (
	block = regexp.MustCompile("(?ms)^```\n\\$ ([^\n]+)\n.*?^```$")
	took  = regexp.MustCompile(`(?m)^took .*\n`)
)

// quote returns a document with the output of each command that it quotes.
func quote(text []byte, run func(command string) ([]byte, error)) ([]byte, error) {
	var failed error
	out := block.ReplaceAllFunc(text, func(old []byte) []byte {
		command := string(block.FindSubmatch(old)[1])
		said, err := run(command)
		if err != nil {
			if failed == nil {
				failed = fmt.Errorf("%s: %w", command, err)
			}
			return old
		}
		said = took.ReplaceAll(said, nil)
		return fmt.Appendf(nil, "```\n$ %s\n%s\n```", command, bytes.TrimRight(said, "\n"))
	})
	return out, failed
}

// shell runs a command of a document in this folder.
func shell(command string) ([]byte, error) {
	c := exec.Command("sh", "-c", command)
	c.Env = append(os.Environ(), "TZ=UTC", "NO_COLOR=1", "MAKEFLAGS=-s")
	c.Stderr = os.Stderr
	return c.Output()
}
