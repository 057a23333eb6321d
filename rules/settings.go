package rules

import (
	"fmt"
	"net/netip"
	"time"

	"tidewatch/behavior"
)

// scanSettings is [rule.X.scan]: what differs from the detector's defaults. There
// is one scan detector, so the settings of all rules act on it together.
type scanSettings struct {
	Theta0       *float64
	Theta1       *float64
	Alpha        *float64
	Beta         *float64
	MinHosts     *int     `toml:"min_hosts"`
	FailureShare *float64 `toml:"failure_share"`
	Ports5m      *int     `toml:"ports_5m"`
	Ports1h      *int     `toml:"ports_1h"`
	Ports24h     *int     `toml:"ports_24h"`
	Block        *int     `toml:"block_contacts"`
	MinSources   *int     `toml:"min_sources"`
	Idle         *Duration
	Exclude      []string
}

var scanKeys = []string{
	"theta0", "theta1", "alpha", "beta", "min_hosts", "failure_share", "ports_5m", "ports_1h", "ports_24h", "block_contacts", "min_sources", "idle", "exclude",
}

// settingError is a value out of range.
type settingError struct{ key, what, allowed string }

// apply changes c, and returns what is out of range.
func (s *scanSettings) apply(c *behavior.ScanConfig) (errs []settingError) {
	number := func(key string, v *float64, to *float64, low, high float64) {
		switch {
		case v == nil:
		case *v <= low || *v >= high:
			errs = append(errs, settingError{key, fmt.Sprintf("%s = %g", key, *v), fmt.Sprintf("more than %g, less than %g", low, high)})
		default:
			*to = *v
		}
	}
	whole := func(key string, v *int, to *int, low, high int) {
		switch {
		case v == nil:
		case *v < low || *v > high:
			errs = append(errs, settingError{key, fmt.Sprintf("%s = %d", key, *v), fmt.Sprintf("%d to %d", low, high)})
		default:
			*to = *v
		}
	}
	number("theta0", s.Theta0, &c.Theta0, 0.5, 1)
	number("theta1", s.Theta1, &c.Theta1, 0, 0.5)
	number("alpha", s.Alpha, &c.Alpha, 0, 0.5)
	number("beta", s.Beta, &c.Beta, 0.5, 1)
	number("failure_share", s.FailureShare, &c.FailureShare, 0, 1)
	whole("min_hosts", s.MinHosts, &c.MinHosts, 2, 30)
	whole("ports_5m", s.Ports5m, &c.Ports5m, 2, 30)
	whole("ports_1h", s.Ports1h, &c.Ports1h, 2, 30)
	whole("ports_24h", s.Ports24h, &c.Ports24h, 2, 30)
	whole("block_contacts", s.Block, &c.BlockContacts, 5, 30)
	whole("min_sources", s.MinSources, &c.MinSources, 2, 32)
	if s.Idle != nil {
		if c.Idle = time.Duration(*s.Idle); c.Idle < time.Minute || c.Idle > 24*time.Hour {
			errs = append(errs, settingError{"idle", fmt.Sprintf("idle = %s", c.Idle), "1m to 24h"})
		}
	}
	for _, e := range s.Exclude {
		p, err := network(e)
		if err != nil {
			errs = append(errs, settingError{"exclude", fmt.Sprintf("exclude %q", e), "networks such as 10.1.2.0/24, addresses"})
			continue
		}
		c.Exclude = append(c.Exclude, p)
	}
	return errs
}

// network reads an address or a network.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
