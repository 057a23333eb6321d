package enrich

import (
	"fmt"
	"math"
	"slices"

	"tidewatch/event"
)

// declared is the log-odds against a case that the inventory explains: who fills in an
// inventory wrongly does so once in twenty.
const declared = -3.0

// excuse is what a role explains.
type excuse struct {
	role      event.Role
	detectors []string
	// kind is the value of the detector's feature "kind" that is meant; "" for any.
	kind string
	// responder says that the role may be the responder's too.
	responder bool
	what      string
}

// excuses lists which roles explain what.
var excuses = []excuse{
	{role: event.RoleScanner, detectors: []string{"scan"}, what: "scanner: it scans by order"},
	{role: event.RoleMonitoring, detectors: []string{"beacon"}, what: "monitoring: it asks on a timer"},
	{role: event.RoleMonitoring, detectors: []string{"scan"}, what: "monitoring: it looks whether others answer"},
	{role: event.RoleBackup, detectors: []string{"exfiltration", "long_connection"}, responder: true, what: "backup: it moves data by order"},
	{role: event.RoleResolver, detectors: []string{"dns_tunnel"}, what: "resolver: it asks for others"},
	{role: event.RoleResolver, detectors: []string{"beacon"}, kind: "dns", what: "resolver: it asks for others"},
}

// weigh lets what the inventory says of both ends speak for the case or against it.
func weigh(o *event.Observation) {
	o.Evidence = slices.Clip(o.Evidence)
	for i := range excuses {
		x := &excuses[i]
		if !slices.Contains(x.detectors, o.Detector) || x.kind != "" && textOf(o, "kind") != x.kind {
			continue
		}
		end := &o.Source
		if !is(end, x.role) && x.responder {
			end = &o.Destination
		}
		if is(end, x.role) {
			explainAway(o, end, x)
			break
		}
	}
	raise(o)
}

func is(e *event.Endpoint, r event.Role) bool {
	return e.About != nil && e.About.Asset != nil && e.About.Asset.Role == r
}

// explainAway makes a case as weak as the inventory says.
func explainAway(o *event.Observation, e *event.Endpoint, x *excuse) {
	name := e.About.Asset.Name
	if name == "" {
		name = e.Addr.String()
	}
	shift(o, declared)
	o.Evidence = append(o.Evidence, event.Evidence{
		Feature: o.Detector + ".declared_role", Observed: 1, Expected: 0, Weight: declared,
		Text: fmt.Sprintf("the inventory calls %s a %s", name, x.what),
	})
	o.AtMost = event.SeverityLow
	set(o, "known_scanner", x.role == event.RoleScanner)
}

// shift adds log-odds to the score, and to the features and the risk that follow it.
func shift(o *event.Observation, odds float64) {
	before := min(max(o.Score, 1e-3), 1-1e-3)
	score := 1 / (1 + math.Exp(-math.Log(before/(1-before))-odds))
	if before > 0 {
		o.Risk = min(o.Risk*score/before, 100)
	}
	o.Score = math.Round(1000*score) / 1000
	// The features may be shared with a later report on the same episode.
	o.Features = slices.Clone(o.Features)
	for i := range o.Features {
		switch f := &o.Features[i]; {
		case f.Key == "score" && (o.Detector == "beacon" || o.Detector == "long_connection"):
			f.Num = o.Score
		case f.Key == "log_odds" && (o.Detector == "exfiltration" || o.Detector == "dns_tunnel"):
			f.Num = math.Round(100*(f.Num+odds)) / 100
		}
	}
}

// raise makes findings on what much depends on more severe.
func raise(o *event.Observation) {
	for _, e := range []*event.Endpoint{&o.Source, &o.Destination} {
		if e.About == nil || e.About.Asset == nil || e.Scope != event.ScopeLocal {
			continue
		}
		a := e.About.Asset
		switch {
		case a.Criticality < event.CriticalityHigh:
			continue
		case a.Criticality == event.CriticalityCritical:
			o.Raise = 1
		}
		o.Risk = min(o.Risk+10*float64(a.Criticality-event.CriticalityMedium), 100)
		text := fmt.Sprintf("much depends on %s: its criticality is %s", nameOf(e), a.Criticality)
		if o.Raise > 0 {
			text += ", which makes this one step more severe"
		}
		o.Evidence = append(o.Evidence, event.Evidence{Feature: o.Detector + ".criticality", Observed: float64(a.Criticality), Expected: float64(event.CriticalityMedium), Text: text})
		return
	}
}

func nameOf(e *event.Endpoint) string {
	if name := e.About.HostName(); name != "" {
		return name
	}
	return e.Addr.String()
}

// textOf returns a textual feature.
func textOf(o *event.Observation, key string) string {
	for i := range o.Features {
		if o.Features[i].Key == key && o.Features[i].Type == event.FeatureText {
			return o.Features[i].Text
		}
	}
	return ""
}

// set sets a feature of scans.
func set(o *event.Observation, key string, v bool) {
	if o.Detector != "scan" {
		return
	}
	o.Features = slices.DeleteFunc(o.Features, func(f event.Feature) bool { return f.Key == key })
	o.Features = append(o.Features, event.Bool(key, v))
}
