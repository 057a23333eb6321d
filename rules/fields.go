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

// detectors lists the features of each detector: the names below its own; fields.tsv
// says what they are. A test compares it with what package behavior says.
var detectors = map[string]map[string]field{
	"scan": {
		"kind":  {kind: text, values: []string{"horizontal", "vertical", "block", "sweep", "slow", "distributed"}},
		"shape": {kind: text, values: []string{"horizontal", "vertical", "block", "sweep", "distributed"}},

		"targets":          {kind: number},
		"ports":            {kind: number},
		"port":             {kind: number},
		"sources":          {kind: number},
		"attempts":         {kind: number},
		"failed":           {kind: number},
		"rejected":         {kind: number},
		"answered":         {kind: number},
		"answered_hosts":   {kind: number},
		"failure_rate":     {kind: number},
		"rate_per_second":  {kind: number},
		"duration_seconds": {kind: number},
		"trw_log_ratio":    {kind: number},

		"time_to_detect_seconds":       {kind: number},
		"failed_contacts_at_detection": {kind: number},

		"known_scanner":    {kind: truth},
		"top_ports":        {kind: list},
		"answered_targets": {kind: list},
	},
	"beacon": {
		"kind":  {kind: text, values: []string{"connection", "http", "dns", "retry", "icmp"}},
		"basis": {kind: text, values: []string{"address", "name", "dns"}},

		"score":            {kind: number},
		"timing_score":     {kind: number},
		"log_odds":         {kind: number},
		"log_odds_per_gap": {kind: number},
		"irregular_model":  {kind: text},
		"period_seconds":   {kind: number},
		"jitter":           {kind: number},
		"missed":           {kind: number},
		"contacts":         {kind: number},
		"connections":      {kind: number},
		"failed":           {kind: number},
		"size_regularity":  {kind: number},
		"hours_active":     {kind: number},
		"periods":          {kind: number},
		"next_expected":    {kind: text},

		"bytes_out_per_contact": {kind: number},
		"bytes_in_per_contact":  {kind: number},

		"hosts_sharing": {kind: number},
		"hosts_known":   {kind: number},
		"prevalence":    {kind: number},
		"rank":          {kind: number},
		"service_class": {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
		"ja3":           {kind: text},
		"ja4":           {kind: text},
	},
	"exfiltration": {
		"kind": {kind: text, values: []string{"bulk", "long", "slow", "split", "inbound", "icmp", "ntp", "dns"}},

		"bytes":          {kind: number},
		"bytes_usual":    {kind: number},
		"bytes_received": {kind: number},
		"largest_bytes":  {kind: number},
		"ratio":          {kind: number},
		"connections":    {kind: number},
		"destinations":   {kind: number},
		"age_hours":      {kind: number},
		"prevalence":     {kind: number},
		"hosts":          {kind: number},
		"rank":           {kind: number},
		"log_odds":       {kind: number},

		"duration_seconds":       {kind: number},
		"rate_bytes_per_second":  {kind: number},
		"time_to_detect_seconds": {kind: number},

		"class":       {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
		"name_source": {kind: text},
		"disputed":    {kind: truth},
		"addresses":   {kind: list},
	},
	"long_connection": {
		"score": {kind: number},

		"duration_seconds": {kind: number},
		"total_seconds":    {kind: number},
		"usual_seconds":    {kind: number},
		"connections":      {kind: number},
		"bytes_out":        {kind: number},
		"bytes_in":         {kind: number},
		"bytes_per_second": {kind: number},
		"hosts":            {kind: number},
		"hosts_known":      {kind: number},
		"prevalence":       {kind: number},
		"age_days":         {kind: number},
		"rank":             {kind: number},

		"time_to_detect_seconds": {kind: number},

		"running":         {kind: truth},
		"begin_seen":      {kind: truth},
		"bad_certificate": {kind: truth},

		"service_class": {kind: text, values: []string{"", "time", "names", "local", "update", "telemetry", "revocation", "push", "meeting", "speed test", "backup", "platform"}},
	},
	"dns_tunnel": {
		"kind": {kind: text, values: []string{"fast", "slow", "shared", "resolver"}},

		"queries":           {kind: number},
		"subnames":          {kind: number},
		"subname_bytes":     {kind: number},
		"subname_bytes_1h":  {kind: number},
		"subname_bytes_24h": {kind: number},
		"novelty":           {kind: number},
		"mean_name":         {kind: number},
		"mean_label":        {kind: number},
		"longest_label":     {kind: number},
		"entropy":           {kind: number},
		"encoded":           {kind: number},
		"nxdomain_share":    {kind: number},
		"answer_bytes":      {kind: number},
		"answer_ttl":        {kind: number},
		"bytes_out":         {kind: number},
		"prevalence":        {kind: number},
		"hosts":             {kind: number},
		"rank":              {kind: number},
		"log_odds":          {kind: number},
		"duration_seconds":  {kind: number},

		"time_to_detect_seconds": {kind: number},
		"queries_at_detection":   {kind: number},
		"period_seconds":         {kind: number},

		"resolver": {kind: address},
		"direct":   {kind: truth},
		"types":    {kind: list},
		"examples": {kind: list},
	},
	"risk": {
		"score":    {kind: number},
		"findings": {kind: number},
		"rules":    {kind: number},
		"tactics":  {kind: number},
		"rule_ids": {kind: list},
	},
	"lookback": {
		"kind":     {kind: text, values: []string{"address", "name", "fingerprint"}},
		"value":    {kind: text},
		"hosts":    {kind: number},
		"examples": {kind: list},
		"ja3":      {kind: text},
		"ja4":      {kind: text},
	},
	"event": {
		"kind": {kind: text},
	},
	"indicator": {
		"kind": {kind: text},
	},
	"threshold": {
		"amount":           {kind: number},
		"at_least":         {kind: number},
		"records":          {kind: number},
		"duration_seconds": {kind: number},
	},
	"sequence": {
		"steps":            {kind: number},
		"duration_seconds": {kind: number},
	},
	"first_seen": {
		"value":         {kind: text},
		"others":        {kind: number},
		"known_seconds": {kind: number},
	},
	"rarity": {
		"value":    {kind: text},
		"hosts":    {kind: number},
		"of_hosts": {kind: number},
	},
	"baseline": {
		"amount":   {kind: number},
		"usual":    {kind: number},
		"sigmas":   {kind: number},
		"measures": {kind: number},
	},
}

// detectorNames returns the names of the detectors, sorted.
func detectorNames() []string { return slices.Sorted(maps.Keys(detectors)) }

// common are the fields that each detector's rules have.
var common = map[string]field{
	"source.ip":                        {kind: address, get: func(o *event.Observation) any { return addressOf(&o.Source) }},
	"source.port":                      {kind: number, get: func(o *event.Observation) any { return float64(o.Source.Port) }},
	"source.domain":                    {kind: text, get: func(o *event.Observation) any { return o.Source.Domain }},
	"source.local":                     {kind: truth, get: func(o *event.Observation) any { return o.Source.Scope == event.ScopeLocal }},
	"destination.ip":                   {kind: address, get: func(o *event.Observation) any { return addressOf(&o.Destination) }},
	"destination.port":                 {kind: number, get: func(o *event.Observation) any { return float64(o.Destination.Port) }},
	"destination.domain":               {kind: text, get: func(o *event.Observation) any { return o.Destination.Domain }},
	"destination.local":                {kind: truth, get: func(o *event.Observation) any { return o.Destination.Scope == event.ScopeLocal }},
	"source.asset.name":                {kind: text, get: func(o *event.Observation) any { return assetOf(o.Source.About).Name }},
	"source.asset.owner":               {kind: text, get: func(o *event.Observation) any { return assetOf(o.Source.About).Owner }},
	"source.asset.role":                {kind: text, values: event.RoleNames[:], get: func(o *event.Observation) any { return assetOf(o.Source.About).Role.String() }},
	"source.asset.criticality":         {kind: text, values: event.CriticalityNames[:], get: func(o *event.Observation) any { return assetOf(o.Source.About).Criticality.String() }},
	"destination.asset.name":           {kind: text, get: func(o *event.Observation) any { return assetOf(o.Destination.About).Name }},
	"destination.asset.owner":          {kind: text, get: func(o *event.Observation) any { return assetOf(o.Destination.About).Owner }},
	"destination.asset.role":           {kind: text, values: event.RoleNames[:], get: func(o *event.Observation) any { return assetOf(o.Destination.About).Role.String() }},
	"destination.asset.criticality":    {kind: text, values: event.CriticalityNames[:], get: func(o *event.Observation) any { return assetOf(o.Destination.About).Criticality.String() }},
	"source.network.name":              {kind: text, get: func(o *event.Observation) any { return networkOf(o.Source.About) }},
	"destination.network.name":         {kind: text, get: func(o *event.Observation) any { return networkOf(o.Destination.About) }},
	"destination.service.provider":     {kind: text, get: func(o *event.Observation) any { return serviceOf(o.Destination.About).Provider }},
	"destination.service.name":         {kind: text, get: func(o *event.Observation) any { return serviceOf(o.Destination.About).Name }},
	"source.geo.country_iso_code":      {kind: text, get: func(o *event.Observation) any { return geoOf(o.Source.About).Country }},
	"source.as.number":                 {kind: number, get: func(o *event.Observation) any { return float64(geoOf(o.Source.About).ASN) }},
	"source.as.organization.name":      {kind: text, get: func(o *event.Observation) any { return geoOf(o.Source.About).Organization }},
	"destination.geo.country_iso_code": {kind: text, get: func(o *event.Observation) any { return geoOf(o.Destination.About).Country }},
	"destination.as.number":            {kind: number, get: func(o *event.Observation) any { return float64(geoOf(o.Destination.About).ASN) }},
	"destination.as.organization.name": {kind: text, get: func(o *event.Observation) any { return geoOf(o.Destination.About).Organization }},
	"network.direction": {kind: text, values: []string{"inbound", "outbound", "internal", "external"},
		get: func(o *event.Observation) any { return o.Direction }},
	"network.transport": {kind: text, get: func(o *event.Observation) any { return o.Proto.String() }},
	"network.protocol":  {kind: text, get: func(o *event.Observation) any { return o.Application }},
	"network.vlan.id":   {kind: number, get: func(o *event.Observation) any { return float64(o.VLAN) }},
	"dns.question.name": {kind: text, get: func(o *event.Observation) any { return o.Query }},
	"event.score":       {kind: number, get: func(o *event.Observation) any { return o.Score }},
	"event.risk_score":  {kind: number, get: func(o *event.Observation) any { return o.Risk }},
}

var (
	noAsset   event.Asset
	noService event.Service
	noGeo     event.Geo
)

// geoOf returns where an end is.
func geoOf(a *event.About) *event.Geo {
	if a == nil || a.Geo == nil {
		return &noGeo
	}
	return a.Geo
}

// serviceOf returns whose network an end is in.
func serviceOf(a *event.About) *event.Service {
	if a == nil || a.Service == nil {
		return &noService
	}
	return a.Service
}

// assetOf returns what the inventory says of an end.
func assetOf(a *event.About) *event.Asset {
	if a == nil || a.Asset == nil {
		return &noAsset
	}
	return a.Asset
}

// networkOf returns what the site calls the network of an end.
func networkOf(a *event.About) string {
	if a == nil {
		return ""
	}
	return a.Network
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
