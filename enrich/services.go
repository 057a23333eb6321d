package enrich

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/gaissmai/bart"

	"tidewatch/event"
	"tidewatch/internal/strict"
)

const (
	maxRanges   = 64 << 20 // bytes of a file
	maxNetworks = 1 << 20  // of all files
)

// Services knows whose networks are whose. It is not changed once it is read and may be
// used concurrently.
type Services struct {
	networks bart.Table[*event.Service]
	n        int
	shared   map[event.Service]*event.Service // while it is read
}

// Len returns how many networks there are.
func (s *Services) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// Lookup returns whose an address is: of the smallest network that it is in. It is nil
// if nobody has said.
func (s *Services) Lookup(a netip.Addr) *event.Service {
	if s == nil {
		return nil
	}
	v, _ := s.networks.Lookup(a)
	return v
}

// readServices reads files of networks.
func readServices(paths []string) (*Services, error) {
	s := &Services{shared: map[event.Service]*event.Service{}}
	var problems []*strict.Problem
	for _, path := range paths {
		text, err := readBounded(path, maxRanges)
		if err == nil {
			text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
			if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
				err = s.json(text)
			} else if p := s.lines(path, text); p != nil {
				problems = append(problems, p)
			}
		}
		if err != nil {
			problems = append(problems, &strict.Problem{File: path, What: err.Error()})
		}
	}
	s.shared = nil
	return s, strict.Join(problems)
}

// lines reads a network a line, of the provider that the file is named for.
func (s *Services) lines(path string, text []byte) *strict.Problem {
	provider, n := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), 0
	for line := range strings.Lines(string(text)) {
		n++
		value, _, _ := strings.Cut(line, "#")
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		if err := s.add(value, event.Service{Provider: provider}); err != nil {
			return &strict.Problem{File: path, Line: n, Excerpt: strings.TrimSpace(line), What: err.Error(), Allowed: "a network a line, such as 198.51.100.0/24"}
		}
	}
	return nil
}

// published is what is read of the files of Amazon, Google and Microsoft Azure.
type published struct {
	Prefixes []struct {
		AWS     string `json:"ip_prefix"`
		V4      string `json:"ipv4Prefix"`
		V6      string `json:"ipv6Prefix"`
		Region  string `json:"region"`
		Scope   string `json:"scope"`
		Service string `json:"service"`
	} `json:"prefixes"`
	V6 []struct {
		Prefix  string `json:"ipv6_prefix"`
		Region  string `json:"region"`
		Service string `json:"service"`
	} `json:"ipv6_prefixes"`
	Values []struct {
		Name       string `json:"name"`
		Properties struct {
			Service  string   `json:"systemService"`
			Region   string   `json:"region"`
			Prefixes []string `json:"addressPrefixes"`
		} `json:"properties"`
	} `json:"values"`
}

// office is one entry of the endpoints of Microsoft 365.
type office struct {
	Area string   `json:"serviceAreaDisplayName"`
	IPs  []string `json:"ips"`
}

// json reads what a provider publishes.
func (s *Services) json(text []byte) error {
	if text[0] == '[' {
		var all []office
		if err := json.Unmarshal(text, &all); err != nil {
			return err
		}
		for _, o := range all {
			for _, ip := range o.IPs {
				if err := s.add(ip, event.Service{Provider: "Microsoft 365", Name: o.Area}); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var p published
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if len(p.Prefixes)+len(p.V6)+len(p.Values) == 0 {
		return errors.New("neither Amazon's ip-ranges.json, Google's cloud.json, Azure's service tags nor Microsoft 365's endpoints")
	}
	return s.take(&p)
}

func (s *Services) take(p *published) error {
	for _, x := range p.Prefixes {
		if x.AWS != "" {
			if err := s.add(x.AWS, event.Service{Provider: "Amazon Web Services", Name: x.Service, Region: x.Region}); err != nil {
				return err
			}
			continue
		}
		if err := s.add(x.V4+x.V6, event.Service{Provider: "Google Cloud", Name: x.Service, Region: x.Scope}); err != nil {
			return err
		}
	}
	for _, x := range p.V6 {
		if err := s.add(x.Prefix, event.Service{Provider: "Amazon Web Services", Name: x.Service, Region: x.Region}); err != nil {
			return err
		}
	}
	for _, v := range p.Values {
		for _, n := range v.Properties.Prefixes {
			if err := s.add(n, event.Service{Provider: "Microsoft Azure", Name: v.Properties.Service, Region: v.Properties.Region}); err != nil {
				return err
			}
		}
	}
	return nil
}

// add takes a network. Providers list one several times: under the name of all that is
// theirs, and under that of what it is for, which counts.
func (s *Services) add(network string, v event.Service) error {
	ps, err := parseNetworks(network)
	if err != nil {
		return fmt.Errorf("%q is %w", network, err)
	}
	if len(v.Provider)+len(v.Name)+len(v.Region) > 3*longestName {
		return errors.New("a name is too long")
	}
	if v.Name == "AMAZON" {
		v.Name = ""
	}
	shared := s.shared[v]
	if shared == nil {
		shared = &v
		s.shared[v] = shared
	}
	for _, p := range ps {
		if s.n++; s.n > maxNetworks {
			return fmt.Errorf("more than %d networks", maxNetworks)
		}
		if before, ok := s.networks.Get(p); !ok || before.Name == "" && v.Name != "" {
			s.networks.Insert(p, shared)
		}
	}
	return nil
}
