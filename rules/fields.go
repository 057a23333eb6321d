package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tidewatch/event"
	"tidewatch/rules/condition"
)

// kind is what a field holds.
type kind uint8

const (
	text kind = iota
	number
	truth
	list    // of texts
	address // a text; "" if unknown
)

// field is what a name in an expression, in a template or in a suppression stands
// for. A name that an observation says nothing about stands for "", 0, false or
// an empty list.
type field struct {
	kind   kind
	values []string // the texts that it can be, if they are few
	get    func(o *event.Observation) any
}

// detectors lists the features of each detector: the names below its own.
// A test compares it with what package behavior says.
var detectors = map[string]map[string]field{
	"scan": {
		"kind":  {kind: text, values: []string{"horizontal", "vertical", "block", "sweep", "slow", "distributed"}},
		"shape": {kind: text, values: []string{"horizontal", "vertical", "block", "sweep", "distributed"}}, // also of a slow one

		"targets":          {kind: number}, // hosts that were tried
		"ports":            {kind: number}, // different ports that were tried
		"port":             {kind: number}, // the port, if there is one only
		"sources":          {kind: number}, // of a distributed scan
		"attempts":         {kind: number}, // first contacts
		"failed":           {kind: number}, // of the attempts
		"rejected":         {kind: number}, // of the failed ones: a host said no
		"answered":         {kind: number}, // of the attempts
		"answered_hosts":   {kind: number},
		"failure_rate":     {kind: number}, // 0 to 1
		"rate_per_second":  {kind: number}, // attempts
		"duration_seconds": {kind: number},
		"trw_log_ratio":    {kind: number}, // scanner against harmless host, natural logarithm

		"time_to_detect_seconds":       {kind: number},
		"failed_contacts_at_detection": {kind: number},

		"known_scanner":    {kind: truth}, // declared as one
		"top_ports":        {kind: list},  // such as 445/tcp
		"answered_targets": {kind: list},  // such as 10.0.0.7:445/tcp
	},
	"beacon": {
		"kind":  {kind: text, values: []string{"connection", "http", "dns", "retry", "icmp"}},
		"basis": {kind: text, values: []string{"address", "name", "dns"}}, // what the contacts have in common

		"score":            {kind: number}, // 0 to 1: timing and context together
		"timing_score":     {kind: number}, // 0 to 1: timing alone
		"log_odds":         {kind: number}, // a timer against the best irregular process, natural logarithm
		"log_odds_per_gap": {kind: number},
		"irregular_model":  {kind: text}, // that process
		"period_seconds":   {kind: number},
		"jitter":           {kind: number}, // share of the period
		"missed":           {kind: number}, // share of contacts that did not come
		"contacts":         {kind: number},
		"connections":      {kind: number}, // or requests, or questions
		"failed":           {kind: number}, // connections that nobody answered
		"size_regularity":  {kind: number}, // 0 to 1
		"hours_active":     {kind: number}, // of the week
		"periods":          {kind: number}, // from the first contact to the last
		"next_expected":    {kind: text},   // RFC 3339

		"bytes_out_per_contact": {kind: number},
		"bytes_in_per_contact":  {kind: number},

		"hosts_sharing": {kind: number}, // local hosts that use the far end
		"hosts_known":   {kind: number}, // local hosts in all
		"prevalence":    {kind: number}, // the one as a share of the other
		"rank":          {kind: number}, // among popular domains, 0: not among them
		"service_class": {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
		"ja3":           {kind: text},
		"ja4":           {kind: text},
	},
	"exfiltration": {
		"kind": {kind: text, values: []string{"bulk", "long", "slow", "split", "inbound", "icmp", "ntp", "dns"}},

		"bytes":          {kind: number}, // of payload, sent
		"bytes_usual":    {kind: number}, // what the destination usually gets a day; 0: not known
		"bytes_received": {kind: number},
		"largest_bytes":  {kind: number}, // of one connection
		"ratio":          {kind: number}, // producer/consumer ratio, -1 to 1
		"connections":    {kind: number},
		"destinations":   {kind: number},
		"age_hours":      {kind: number}, // that the host has known the destination for
		"prevalence":     {kind: number}, // share of the hosts that deal with the destination, 0 to 1
		"hosts":          {kind: number}, // how many that are
		"rank":           {kind: number}, // place in the list of popular domains; 0: not in it
		"log_odds":       {kind: number}, // the sum of the evidence

		"duration_seconds":       {kind: number},
		"rate_bytes_per_second":  {kind: number},
		"time_to_detect_seconds": {kind: number},

		"class":       {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
		"name_source": {kind: text},
		"disputed":    {kind: truth}, // the sensor's counts contradict each other
		"addresses":   {kind: list},  // of a split upload
	},
	"long_connection": {
		"score": {kind: number}, // probability after all context, 0 to 1

		"duration_seconds": {kind: number}, // of the connection that made the case
		"total_seconds":    {kind: number}, // of all connections from ten minutes on
		"usual_seconds":    {kind: number}, // how long such connections to the destination usually are; 0: not known
		"connections":      {kind: number}, // of the host with the destination, from ten minutes on
		"bytes_out":        {kind: number},
		"bytes_in":         {kind: number},
		"bytes_per_second": {kind: number}, // both ways
		"hosts":            {kind: number}, // that deal with the destination
		"hosts_known":      {kind: number},
		"prevalence":       {kind: number}, // share of the hosts that deal with the destination, 0 to 1
		"age_days":         {kind: number}, // that somebody inside has dealt with it for
		"rank":             {kind: number}, // place in the list of popular domains; 0: not in it

		"time_to_detect_seconds": {kind: number},

		"running":         {kind: truth}, // it goes on
		"begin_seen":      {kind: truth}, // the sensor saw how it began
		"bad_certificate": {kind: truth}, // one that nobody vouches for

		"service_class": {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
	},
	"dns_tunnel": {
		"kind": {kind: text, values: []string{"fast", "slow", "shared", "resolver"}},

		"queries":           {kind: number},
		"subnames":          {kind: number}, // different names below the domain, new to the host
		"subname_bytes":     {kind: number}, // of them, without the domain
		"subname_bytes_1h":  {kind: number}, // the most within an hour
		"subname_bytes_24h": {kind: number}, // the most within a day
		"novelty":           {kind: number}, // new names a query, 0 to 1
		"mean_name":         {kind: number}, // bytes before the domain
		"mean_label":        {kind: number}, // bytes
		"longest_label":     {kind: number}, // bytes
		"entropy":           {kind: number}, // bits a character
		"encoded":           {kind: number}, // encoded data against a host's name, nats a character
		"nxdomain_share":    {kind: number}, // of the answers, 0 to 1
		"answer_bytes":      {kind: number}, // of all answers
		"answer_ttl":        {kind: number}, // seconds, mean
		"bytes_out":         {kind: number}, // an estimate of what was sent
		"prevalence":        {kind: number}, // share of the hosts that ask for the domain
		"hosts":             {kind: number}, // that do
		"rank":              {kind: number}, // of the domain among popular ones, 0: none
		"log_odds":          {kind: number}, // natural logarithm
		"duration_seconds":  {kind: number},

		"time_to_detect_seconds": {kind: number},
		"queries_at_detection":   {kind: number},
		"period_seconds":         {kind: number}, // of the timer on which the questions come; 0: none was found

		"resolver": {kind: address}, // that is asked, if it is one
		"direct":   {kind: truth},   // a server outside is asked, and about this domain only
		"types":    {kind: list},    // of queries, such as TXT
		"examples": {kind: list},    // names
	},
	"risk": {
		"score":    {kind: number}, // the sum of what was found on the host, each with its age
		"findings": {kind: number},
		"rules":    {kind: number}, // that found something
		"tactics":  {kind: number}, // of ATT&CK, that these speak of
		"rule_ids": {kind: list},
	},
	"event": {
		"kind": {kind: text}, // of the record
	},
	"threshold": {
		"amount":           {kind: number}, // of what is counted or summed up
		"at_least":         {kind: number}, // that the rule asks for
		"records":          {kind: number},
		"duration_seconds": {kind: number},
	},
	"sequence": {
		"steps":            {kind: number},
		"duration_seconds": {kind: number},
	},
	"first_seen": {
		"value":         {kind: text},
		"others":        {kind: number}, // values that the entity had before
		"known_seconds": {kind: number}, // that the entity has been known for
	},
	"rarity": {
		"value":    {kind: text},
		"hosts":    {kind: number}, // that have had the value
		"of_hosts": {kind: number}, // that there are
	},
	"baseline": {
		"amount":   {kind: number}, // of what is counted or summed up
		"usual":    {kind: number}, // at this time
		"sigmas":   {kind: number}, // above that
		"measures": {kind: number}, // that this rests on
	},
}

// detectorNames returns the names of the detectors, sorted.
func detectorNames() []string { return slices.Sorted(maps.Keys(detectors)) }

// common are the fields that each detector's rules have.
var common = map[string]field{
	"source.ip":          {kind: address, get: func(o *event.Observation) any { return addressOf(&o.Source) }},
	"source.port":        {kind: number, get: func(o *event.Observation) any { return float64(o.Source.Port) }},
	"source.domain":      {kind: text, get: func(o *event.Observation) any { return o.Source.Domain }},
	"source.local":       {kind: truth, get: func(o *event.Observation) any { return o.Source.Scope == event.ScopeLocal }},
	"destination.ip":     {kind: address, get: func(o *event.Observation) any { return addressOf(&o.Destination) }},
	"destination.port":   {kind: number, get: func(o *event.Observation) any { return float64(o.Destination.Port) }},
	"destination.domain": {kind: text, get: func(o *event.Observation) any { return o.Destination.Domain }},
	"destination.local":  {kind: truth, get: func(o *event.Observation) any { return o.Destination.Scope == event.ScopeLocal }},
	"network.direction": {kind: text, values: []string{"inbound", "outbound", "internal", "external"},
		get: func(o *event.Observation) any { return o.Direction }},
	"network.transport": {kind: text, get: func(o *event.Observation) any { return o.Proto.String() }},
	"network.protocol":  {kind: text, get: func(o *event.Observation) any { return o.Application }},
	"network.vlan.id":   {kind: number, get: func(o *event.Observation) any { return float64(o.VLAN) }},
	"dns.question.name": {kind: text, get: func(o *event.Observation) any { return o.Query }},
	"event.score":       {kind: number, get: func(o *event.Observation) any { return o.Score }},
	"event.risk_score":  {kind: number, get: func(o *event.Observation) any { return o.Risk }},
}

func addressOf(e *event.Endpoint) string {
	if !e.Addr.IsValid() {
		return ""
	}
	return e.Addr.String()
}

// fieldsOf holds, for each detector, all that its rules may name.
var fieldsOf = allFields()

func allFields() map[string]map[string]field {
	all := map[string]map[string]field{}
	for detector, features := range detectors {
		m := maps.Clone(common)
		for key, f := range features {
			f.get = f.feature(key)
			m[detector+"."+key] = f
		}
		all[detector] = m
	}
	return all
}

// feature returns what reads the feature of this key. A feature of another type
// than the declared one counts as missing, so that no expression meets it.
func (f field) feature(key string) func(*event.Observation) any {
	want := map[kind]event.FeatureType{text: event.FeatureText, number: event.FeatureNumber, truth: event.FeatureBool, list: event.FeatureList}[f.kind]
	return func(o *event.Observation) any {
		found := event.Feature{}
		for i := range o.Features {
			if o.Features[i].Key == key && o.Features[i].Type == want {
				found = o.Features[i]
			}
		}
		switch f.kind {
		case number:
			return found.Num
		case truth:
			return found.Num != 0
		case list:
			return found.List
		}
		return found.Text
	}
}

// tables holds, for each detector, what its conditions can name.
var tables = observationTables()

func observationTables() map[string]condition.Table[event.Observation] {
	all := map[string]condition.Table[event.Observation]{}
	for detector, fields := range fieldsOf {
		t := condition.Table[event.Observation]{}
		for name, f := range fields {
			t[name] = f.compiled(name)
		}
		all[detector] = t
	}
	return all
}

// compiled returns the field in the form that conditions read.
func (f field) compiled(name string) condition.Field[event.Observation] {
	c := condition.Field[event.Observation]{Values: f.values, Unit: unitOf(name)}
	switch f.kind {
	case text:
		c.Kind, c.Text = condition.Text, func(o *event.Observation) string { return f.get(o).(string) }
	case number:
		c.Kind, c.Number = condition.Number, func(o *event.Observation) float64 { return f.get(o).(float64) }
	case truth:
		c.Kind, c.Truth = condition.Truth, func(o *event.Observation) bool { return f.get(o).(bool) }
	case list:
		c.Kind, c.List = condition.List, func(o *event.Observation) []string { return f.get(o).([]string) }
	case address:
		c.Kind, c.Address = condition.Address, func(o *event.Observation) netip.Addr {
			a, _ := netip.ParseAddr(f.get(o).(string)) // the zero one stands for none
			return a
		}
	}
	return c
}

// unitOf returns the unit that a feature's name tells.
func unitOf(name string) condition.Unit {
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case strings.HasSuffix(last, "_seconds"):
		return condition.Seconds
	case strings.Contains(last, "bytes") && !strings.Contains(last, "per_second"):
		return condition.Bytes
	}
	return condition.NoUnit
}

// fieldText returns a field of an observation the way people read it, "" if it is
// not known.
func fieldText(o *event.Observation, name string) string {
	if i := slices.IndexFunc(o.Record, func(f event.Field) bool { return f.Name == name }); i >= 0 {
		return o.Record[i].Value
	}
	f, ok := fieldsOf[o.Detector][name]
	if !ok {
		return ""
	}
	switch v := f.get(o).(type) {
	case float64:
		if strings.HasSuffix(name, ".port") && v == 0 {
			return ""
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		return strings.Join(v, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// fieldNames returns all names of a detector's rules, sorted.
func fieldNames(detector string) []string {
	names := slices.Collect(maps.Keys(fieldsOf[detector]))
	if _, ok := watchKinds[detector]; ok { // findings say what the rule names of its record
		names = append(names, recordNamesSorted...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fieldList says in short which names there are, source.{ip,port}, ...: those of
// the table that a wrong name is in, or all.
func fieldList(detector, wrong string) string {
	return listNames(fieldNames(detector), wrong)
}

// listNames says in short which of some sorted names there are.
func listNames(names []string, wrong string) string {
	if cut := strings.LastIndexByte(wrong, '.') + 1; cut > 0 {
		same := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.LastIndexByte(n, '.')+1 != cut || n[:cut] != wrong[:cut] })
		if len(same) > 0 {
			names = same
		}
	}
	var b strings.Builder
	open := ""
	for _, name := range names {
		cut := strings.LastIndexByte(name, '.')
		if table := name[:cut]; table != open {
			if open != "" {
				b.WriteString("}, ")
			}
			b.WriteString(table + ".{")
			open = table
		} else {
			b.WriteString(",")
		}
		b.WriteString(name[cut+1:])
	}
	return b.String() + "}"
}
