package rules

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tidewatch/behavior"
	"tidewatch/rules/condition"
)

// setting is one setting of a detector: [rule.X.<detector>]. There is one detector
// of each kind, so what the rules say of it acts on all of them, and they may not
// contradict each other.
type setting struct {
	key     string
	allowed string
	missing func(c *behavior.Config) string // what it is without the key, as the file would write it
	read    func(s setting, r *reader, c *behavior.Config, say func(value, any) bool)
}

// settings lists the settings of each detector. A test compares them with the
// fields of package behavior.
var settings = map[string][]setting{
	"scan": {
		share("theta0", 0.5, 1, func(c *behavior.Config) *float64 { return &c.Scan.Theta0 }),
		share("theta1", 0, 0.5, func(c *behavior.Config) *float64 { return &c.Scan.Theta1 }),
		share("alpha", 0, 0.5, func(c *behavior.Config) *float64 { return &c.Scan.Alpha }),
		share("beta", 0.5, 1, func(c *behavior.Config) *float64 { return &c.Scan.Beta }),
		share("failure_share", 0, 1, func(c *behavior.Config) *float64 { return &c.Scan.FailureShare }),
		share("inside_share", 0, 1, func(c *behavior.Config) *float64 { return &c.Scan.InsideShare }),
		whole("min_hosts", 2, 30, func(c *behavior.Config) *int { return &c.Scan.MinHosts }),
		whole("ports_5m", 2, 30, func(c *behavior.Config) *int { return &c.Scan.Ports5m }),
		whole("ports_1h", 2, 30, func(c *behavior.Config) *int { return &c.Scan.Ports1h }),
		whole("ports_24h", 2, 30, func(c *behavior.Config) *int { return &c.Scan.Ports24h }),
		whole("block_contacts", 5, 30, func(c *behavior.Config) *int { return &c.Scan.BlockContacts }),
		whole("min_sources", 2, 32, func(c *behavior.Config) *int { return &c.Scan.MinSources }),
		whole("max_sources", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.Scan.MaxSources }),
		whole("max_targets", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.Scan.MaxTargets }),
		span("idle", time.Minute, 24*time.Hour, func(c *behavior.Config) *time.Duration { return &c.Scan.Idle }),
		networks("exclude", func(c *behavior.Config) *[]netip.Prefix { return &c.Scan.Exclude }),
	},
	"beacon": {
		whole("min_contacts", 6, 10_000, func(c *behavior.Config) *int { return &c.Beacon.MinContacts }),
		share("min_timing", 0.1, 1, func(c *behavior.Config) *float64 { return &c.Beacon.MinTiming }),
		whole("max_pairs", 10_000, 1_000_000_000, func(c *behavior.Config) *int { return &c.Beacon.MaxPairs }),
		whole("max_tracks", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.Beacon.MaxTracks }),
		networks("exclude", func(c *behavior.Config) *[]netip.Prefix { return &c.Beacon.Exclude }),
	},
	"exfiltration": {
		whole("min_bytes", 100_000, 1_000_000_000_000, func(c *behavior.Config) *int { return &c.Exfil.MinBytes }),
		whole("plausible_bytes", 1_000_000, 1_000_000_000_000, func(c *behavior.Config) *int { return &c.Exfil.PlausibleBytes }),
		whole("echo_bytes", 10_000, 1_000_000_000, func(c *behavior.Config) *int { return &c.Exfil.EchoBytes }),
		share("score", 0, 1, func(c *behavior.Config) *float64 { return &c.Exfil.Score }),
		span("idle", 10*time.Minute, 24*time.Hour, func(c *behavior.Config) *time.Duration { return &c.Exfil.Idle }),
		whole("max_hosts", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.Exfil.MaxHosts }),
		networks("exclude", func(c *behavior.Config) *[]netip.Prefix { return &c.Exfil.Exclude }),
	},
	"long_connection": {
		span("min_duration", 10*time.Minute, 24*time.Hour, func(c *behavior.Config) *time.Duration { return &c.Long.MinDuration }),
		share("min_score", 0, 1, func(c *behavior.Config) *float64 { return &c.Long.MinScore }),
		whole("max_destinations", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.Long.MaxDestinations }),
		networks("exclude", func(c *behavior.Config) *[]netip.Prefix { return &c.Long.Exclude }),
	},
	"dns_tunnel": {
		whole("bytes_1h", 100, 1_000_000, func(c *behavior.Config) *int { return &c.DNSTunnel.Bytes1h }),
		whole("bytes_24h", 100, 10_000_000, func(c *behavior.Config) *int { return &c.DNSTunnel.Bytes24h }),
		whole("min_names", 3, 1000, func(c *behavior.Config) *int { return &c.DNSTunnel.MinNames }),
		share("min_score", 0.5, 1, func(c *behavior.Config) *float64 { return &c.DNSTunnel.MinScore }),
		span("idle", time.Minute, 24*time.Hour, func(c *behavior.Config) *time.Duration { return &c.DNSTunnel.Idle }),
		networks("exclude", func(c *behavior.Config) *[]netip.Prefix { return &c.DNSTunnel.Exclude }),
		domains("exclude_domains", func(c *behavior.Config) *[]string { return &c.DNSTunnel.ExcludeDomains }),
		whole("max_hosts", 1000, 100_000_000, func(c *behavior.Config) *int { return &c.DNSTunnel.MaxHosts }),
		whole("max_domains", 8, 1024, func(c *behavior.Config) *int { return &c.DNSTunnel.MaxDomains }),
		whole("max_candidates", 100, 10_000_000, func(c *behavior.Config) *int { return &c.DNSTunnel.MaxCandidates }),
	},
}

// share is a number between two others.
func share(key string, low, high float64, field func(*behavior.Config) *float64) setting {
	return setting{key, fmt.Sprintf("a number above %g and below %g", low, high), func(c *behavior.Config) string { return fmt.Sprint(*field(c)) }, func(s setting, r *reader, c *behavior.Config, say func(value, any) bool) {
		r.number(key, s.allowed, func(at value, v float64) {
			if !(v > low && v < high) {
				r.report(at, fmt.Sprintf("%s = %v", key, at.any), s.allowed)
			} else if say(at, v) {
				*field(c) = v
			}
		})
	}}
}

// whole is a whole number from low to high.
func whole(key string, low, high int64, field func(*behavior.Config) *int) setting {
	return setting{key, fmt.Sprintf("a whole number from %d to %d", low, high), func(c *behavior.Config) string { return fmt.Sprint(*field(c)) }, func(s setting, r *reader, c *behavior.Config, say func(value, any) bool) {
		read(r, key, s.allowed, func(at value, v int64) {
			if v < low || v > high {
				r.report(at, fmt.Sprintf("%s = %d", key, v), s.allowed)
			} else if say(at, v) {
				*field(c) = int(v)
			}
		})
	}}
}

// span is a duration from low to high.
func span(key string, low, high time.Duration, field func(*behavior.Config) *time.Duration) setting {
	return setting{key, fmt.Sprintf("a duration from %s to %s", brief(low), brief(high)), func(c *behavior.Config) string { return strconv.Quote(brief(*field(c))) }, func(s setting, r *reader, c *behavior.Config, say func(value, any) bool) {
		r.duration(key, func(at value, v time.Duration) {
			if v < low || v > high {
				r.report(at, fmt.Sprintf("%s = %q", key, at.any), s.allowed)
			} else if say(at, v) {
				*field(c) = v
			}
		})
	}}
}

// brief writes a duration without the zeros that time has.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// noneMissing is what a list is that no rule writes.
func noneMissing(*behavior.Config) string { return "[]" }

// networks is a list of networks; those of all rules come together.
func networks(key string, field func(*behavior.Config) *[]netip.Prefix) setting {
	return setting{key, `networks and addresses, such as ["10.1.2.0/24", "10.1.3.4"]`, noneMissing, func(s setting, r *reader, c *behavior.Config, _ func(value, any) bool) {
		r.texts(key, func(at value, text string) {
			p, err := condition.Network(text)
			if err != nil {
				r.report(at, fmt.Sprintf("%q is no network", text), s.allowed)
				return
			}
			*field(c) = append(*field(c), p)
		})
	}}
}

// domains is a list of domains; those of all rules come together.
func domains(key string, field func(*behavior.Config) *[]string) setting {
	return setting{key, `domains, such as ["telemetry.example"]`, noneMissing, func(s setting, r *reader, c *behavior.Config, _ func(value, any) bool) {
		r.texts(key, func(at value, text string) {
			if !domain(text) {
				r.report(at, fmt.Sprintf("%q is no domain", text), s.allowed)
				return
			}
			*field(c) = append(*field(c), strings.ToLower(text))
		})
	}}
}

// domain reports whether a text can be a domain: labels of letters, digits, hyphens
// and underscores.
func domain(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		odd := func(c rune) bool {
			return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, odd) {
			return false
		}
	}
	return true
}

// readSettings reads the table that is named for the rule's detector.
func (l *loader) readSettings(detector string, r *reader) {
	t := r.table(detector)
	if t == nil {
		return
	}
	for _, s := range settings[detector] {
		s.read(s, t, &l.set.config, func(at value, v any) bool {
			key := detector + "." + s.key
			before, again := l.settings[key]
			if again && before.any != v {
				p := before.doc.Problem(before.path(), "", "")
				t.report(at, fmt.Sprintf("%s = %v, but %s:%d says %v: there is one %s detector for all rules", s.key, at.any, p.File, p.Line, before.any, detector), "")
				return false
			}
			l.settings[key] = value{at.layer, at.key, v}
			return true
		})
	}
	t.done()
}
