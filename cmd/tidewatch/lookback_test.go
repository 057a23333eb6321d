package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunLooksBack: a host deals with an address; later a list names it; the sidecar
// tells that it was met before, with what the list says.
func TestRunLooksBack(t *testing.T) {
	s := newSite(t)
	list := filepath.Join(filepath.Dir(s.config), "partner.txt")
	s.write(list, "198.51.100.1\n")
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, string(b)+"[enrich]\nindicators = [\""+list+"\"]\n")
	s.write(s.log, connHeader+"1795132800.000000\tCbOb1\t10.0.0.7\t40000\t203.0.113.9\t443\ttcp\tSF\n")
	p := s.start()
	p.records(1)
	if len(s.found(s.findings)) > 0 {
		t.Fatal("something is found before anything is listed")
	}
	s.write(list, "198.51.100.1\n203.0.113.9 # bots\n")
	p.hangup()
	p.until("it has looked back", func() bool { return len(s.found(s.findings)) > 0 })
	if code := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit status %d", code)
	}
	b, err = os.ReadFile(s.findings)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"id":"indicator-before"`, "10.0.0.7 dealt with 203.0.113.9", `"provider":"partner"`, `"description":"bots"`, `"atomic":"203.0.113.9"`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s is not in %s", part, b)
		}
	}
}

// What is listed while the sidecar does not run is looked back for when it starts, once,
// also if nothing was listed before.
func TestRunLooksBackAtStart(t *testing.T) {
	s := newSite(t)
	dir := filepath.Dir(s.config)
	noted := filepath.Join(dir, "state.indicators")
	size := func() int64 {
		info, err := os.Stat(noted)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	s.write(s.log, connHeader+"1795132800.000000\tCbOb1\t10.0.0.7\t40000\t203.0.113.9\t443\ttcp\tSF\n")
	p := s.start()
	p.records(1)
	p.until("it is noted that nothing is listed", func() bool { return size() > 0 })
	p.stop(os.Interrupt)
	empty := size()

	list := filepath.Join(dir, "partner.txt")
	s.write(list, "198.51.100.1\n203.0.113.9 # bots\n")
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, string(b)+"[enrich]\nindicators = [\""+list+"\"]\n")
	p = s.start()
	p.until("it has looked back", func() bool { return len(s.found(s.findings)) == 1 })
	p.until("what is listed is noted", func() bool { return size() > empty })
	p.stop(os.Interrupt)

	s.write(list, "198.51.100.1\n203.0.113.9 # bots\n198.51.100.2\n")
	before := size()
	p = s.start()
	p.until("what is new is noted", func() bool { return size() > before })
	p.stop(os.Interrupt)
	if n := len(s.found(s.findings)); n != 1 {
		t.Errorf("%d findings of one that is new", n)
	}
}
