package kibana

import "net/url"

// formats returns how fields of a data view are shown: numbers with their units, and
// links to what a value stands for. Kibana puts a value into a link in percent-encoding,
// which leaves the apostrophe that would end a text in the address of a page: only
// fields whose values the sensor or this program makes up have one.
func (s site) formats(v view) object {
	f := object{
		"event.duration":    object{"id": "duration", "params": object{"inputFormat": "nanoseconds", "outputFormat": "humanizePrecise", "outputPrecision": 1}},
		"event.severity":    severities,
		"source.ip":         s.entityLink(),
		"destination.ip":    s.entityLink(),
		"related.ip":        s.entityLink(),
		"source.bytes":      bytesFormat,
		"destination.bytes": bytesFormat,

		"network.community_id": s.recordsLink("network.community_id"),
	}
	if v == records {
		f["tidewatch.uid"] = s.recordsLink("tidewatch.uid")
		f["network.bytes"] = bytesFormat
		f["tidewatch.conn.missed_bytes"] = bytesFormat
		return f
	}
	f["tidewatch.sample.uid"] = s.recordsLink("tidewatch.uid")
	f["tidewatch.sample.time"] = s.aroundLink()
	f["rule.reference"] = object{"id": "url", "params": object{}}
	f["threat.tactic.id"] = link("https://attack.mitre.org/tactics/{{value}}/")
	f["threat.technique.id"] = link("https://attack.mitre.org/techniques/{{value}}/")
	for _, name := range []string{"tactic", "technique", "technique.subtechnique"} {
		f["threat."+name+".reference"] = object{"id": "url", "params": object{}}
	}
	for _, name := range []string{"beacon.bytes_out_per_contact", "beacon.bytes_in_per_contact", "exfiltration.bytes", "exfiltration.bytes_usual", "exfiltration.bytes_received",
		"exfiltration.largest_bytes", "exfiltration.rate_bytes_per_second"} {
		f["tidewatch."+name] = bytesFormat
	}
	for _, name := range []string{"beacon.jitter", "beacon.missed", "beacon.prevalence", "exfiltration.prevalence", "scan.failure_rate"} {
		f["tidewatch."+name] = object{"id": "percent", "params": object{"pattern": "0.0%"}}
	}
	f["tidewatch.beacon.period_seconds"] = object{"id": "duration", "params": object{"inputFormat": "seconds", "outputFormat": "humanizePrecise", "outputPrecision": 1}}
	return f
}

var (
	bytesFormat = object{"id": "bytes", "params": object{"pattern": "0,0.[0]b"}}
	severities  = object{"id": "static_lookup", "params": object{"lookupEntries": []any{
		object{"key": "21", "value": "low"}, object{"key": "47", "value": "medium"}, object{"key": "73", "value": "high"}, object{"key": "99", "value": "critical"},
	}}}
)

// link shows a value as a link to a page that has it in its address.
func link(template string) object {
	return object{"id": "url", "params": object{"urlTemplate": template, "labelTemplate": "{{value}}", "openLinkInCurrentTab": false}}
}

// linkSpan is how far back links look for records: a uid may be of any day.
const linkSpan = "time:(from:now-90d,to:now)"

// The links below are relative to Kibana's applications, which a space and a base path
// stand before. Their parameters are in Rison.

// entityLink leads from an address to the dashboard of the host.
func (s site) entityLink() object {
	return link("../app/dashboards#/view/" + s.id("entity") + `?_a=(query:(language:kuery,query:'related.ip:%22{{value}}%22'))`)
}

// recordsLink leads from a value to the records that have it in a field.
func (s site) recordsLink(field string) object {
	return link("../app/discover#/view/" + s.id("records") + "?_g=(" + linkSpan + `)&_a=(query:(language:kuery,query:'` + field + `:%22{{value}}%22'))`)
}

// aroundLink leads from a time to the records of the five minutes before and after.
func (s site) aroundLink() object {
	around := "time:(from:'{{value}}%7C%7C-5m',to:'{{value}}%7C%7C" + url.QueryEscape("+") + "5m')"
	return link("../app/discover#/view/" + s.id("records") + "?_g=(" + around + ")")
}
