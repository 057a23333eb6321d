package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"tidewatch/behavior/disk"
	"tidewatch/behavior/state"
)

// content is what a site's sidecar knows and has said.
type content struct {
	records  [state.NumSections]map[string][32]byte // by key, the values' hashes
	findings map[string]string                      // by id
	again    int                                    // findings that came again under their id
	torn     int                                    // lines of findings that a kill cut off
}

// examine reads the store and the findings of a site whose sidecar has stopped.
func (s *site) examine() (*content, error) {
	c := &content{findings: map[string]string{}}
	for i := range c.records {
		c.records[i] = map[string][32]byte{}
	}
	store, err := disk.Open(s.path("state"), disk.Options{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	_, err = store.Load(context.Background(), func(in state.Section, r state.Record) error {
		v := r.Value
		if in == state.Joined {
			v = sorted(v)
		}
		c.records[in][string(r.Key)] = sha256.Sum256(v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, c.read(s.path("findings.ndjson"))
}

// sorted puts the starts of connections with the same ends into one order: of several logs
// they are read in the order in which those are looked at.
func sorted(v []byte) []byte {
	var starts []string
	for part := range slices.Chunk(v, 8) {
		starts = append(starts, string(part))
	}
	slices.Sort(starts)
	return []byte(strings.Join(starts, ""))
}

// read reads the findings.
func (c *content) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<20), 16<<20)
	for lines.Scan() {
		id, text, err := finding(lines.Bytes())
		if err != nil {
			c.torn++
			continue
		}
		if old, known := c.findings[id]; known {
			c.again++
			if old != text {
				return fmt.Errorf("finding %s came twice, and not the same:\n%s\n%s", id, old, text)
			}
		}
		c.findings[id] = text
	}
	return lines.Err()
}

// finding returns the id of a finding, and the document without the time of its
// delivery, and without how much was known of the entity when it was made: the last
// report of an episode is made when the clock is looked at, and records that came
// since its end are in that number.
func finding(line []byte) (id, text string, err error) {
	var doc map[string]any
	if err := json.Unmarshal(line, &doc); err != nil {
		return "", "", err
	}
	ev, _ := doc["event"].(map[string]any)
	id, _ = ev["id"].(string)
	if id == "" {
		return "", "", fmt.Errorf("a finding without an id: %.200s", line)
	}
	delete(ev, "ingested")
	// What is remembered of connections for findings begins anew with each start.
	for _, part := range []string{"tls", "http", "url", "user_agent", "file"} {
		delete(doc, part)
	}
	if related, ok := doc["related"].(map[string]any); ok {
		delete(related, "hash")
		delete(related, "hosts")
	}
	if own, ok := doc["tidewatch"].(map[string]any); ok {
		delete(own, "session")
		if samples, ok := own["sample"].([]any); ok {
			for _, one := range samples {
				for _, part := range []string{"server_name", "ja4", "user_agent"} {
					delete(one.(map[string]any), part)
				}
			}
		}
		if b, ok := own["baseline"].(map[string]any); ok {
			delete(b, "observations")
			if strings.Contains(fmt.Sprint(b["text"]), "peers that answer") {
				delete(b, "text")
			}
		}
		if es, ok := own["evidence"].([]any); ok {
			own["evidence"] = slices.DeleteFunc(es, func(e any) bool {
				m, _ := e.(map[string]any)
				return m["feature"] == "scan.known_peers"
			})
		}
	}
	b, err := json.Marshal(doc)
	return id, string(b), err
}

// compare returns how c differs from the clean run: an empty list if it does not. The
// positions are not compared: they name files, which differ. Of several logs the
// connections alone are.
func (c *content) compare(clean *content, logs int) (differences []string) {
	say := func(format string, args ...any) {
		differences = append(differences, fmt.Sprintf(format, args...))
	}
	for s := range c.records {
		if in := state.Section(s); in == state.Positions || in != state.Joined && logs > 1 {
			continue
		}
		lost, more, other := diff(clean.records[s], c.records[s])
		if len(lost)+len(more)+len(other) > 0 {
			say("%s: %d records of %d lost, %d too many, %d with other content (%.120q)",
				state.Section(s), len(lost), len(clean.records[s]), len(more), len(other), slices.Concat(lost, more, other)[:1])
		}
	}
	if logs > 1 {
		return differences
	}
	lost, more, other := diff(clean.findings, c.findings)
	for what, ids := range map[string][]string{"lost": lost, "too many": more, "with other content": other} {
		for i, id := range ids {
			if i == 1 {
				break
			}
			say("%d findings %s, such as %s\n  clean: %s\n  here:  %s", len(ids), what, id, apart(clean.findings[id], c.findings[id]), apart(c.findings[id], clean.findings[id]))
		}
	}
	return differences
}

// apart returns the part of a where it begins to differ from b.
func apart(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return a[max(0, at-200):min(len(a), at+200)]
}

// diff compares two maps.
func diff[V comparable](want, got map[string]V) (lost, more, other []string) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[k]; !ok {
			lost = append(lost, k)
		} else if v != want[k] {
			other = append(other, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			more = append(more, k)
		}
	}
	return lost, more, other
}
