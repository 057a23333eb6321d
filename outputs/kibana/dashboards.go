package kibana

// dashboards returns all of them. What shows records says in its description which kinds
// have to be written (records = […] of the output).
func dashboards() []dashboard {
	return []dashboard{overview(), entity(), beacons(), exfiltration(), scanning(), sensors()}
}

// The values that panels share.
var (
	bySeverity = by("event.severity", "Severity", 4).numbers()
	byDetector = by("event.action", "Detector", 15)
	bySource   = by("source.ip", "Source", 20)
	overTime   = over("Time")
	howMany    = count("Findings")
)

// what is shown of a finding, whatever it is about.
var findingColumns = []string{"event.severity", "event.risk_score", "event.action", "source.ip", "destination.ip", "destination.domain", "event.reason"}

func overview() dashboard {
	return dashboard{
		ID: "overview", Title: "tidewatch: overview",
		Description: "What was found, when, about whom, and which ATT&CK tactics it serves.",
		Rows: []row{
			{6, []panel{
				{Title: "Findings", Shape: figure, View: findings, Show: []measure{howMany}, Width: 12},
				{Title: "High and critical", Shape: figure, View: findings, Where: []condition{atLeast("event.severity", 73)}, Show: []measure{howMany}, Width: 12},
				{Title: "Sources with findings", Shape: figure, View: findings, Show: []measure{distinctOf("source.ip", "Sources")}, Width: 12},
				{Title: "Highest risk", Shape: figure, View: findings, Show: []measure{maxOf("event.risk_score", "Risk")}, Width: 12},
			}},
			{13, []panel{
				{Title: "Findings over time, by severity", Shape: bars, View: findings, By: []bucket{bySeverity, overTime}, Show: []measure{howMany}, Width: 24},
				{Title: "Findings over time, by detector", Shape: bars, View: findings, By: []bucket{byDetector, overTime}, Show: []measure{howMany}, Width: 24},
			}},
			{15, []panel{
				{Title: "Entities by risk", Shape: table, View: findings, By: []bucket{by("tidewatch.subject.value", "Entity", 20)},
					Show: []measure{maxOf("event.risk_score", "Highest risk"), howMany, distinctOf("event.action", "Detectors")}, Width: 24},
				{Title: "Sources by risk", Shape: table, View: findings, By: []bucket{bySource},
					Show: []measure{maxOf("event.risk_score", "Highest risk"), howMany, distinctOf("event.action", "Detectors")}, Width: 24},
			}},
			{14, []panel{
				{Title: "ATT&CK tactics", Shape: across, View: findings, By: []bucket{by("threat.tactic.name", "Tactic", 14)}, Show: []measure{howMany}, Width: 16},
				{Title: "ATT&CK techniques", Shape: table, View: findings, By: []bucket{by("threat.technique.id", "Technique", 20)},
					Show: []measure{howMany, maxOf("event.risk_score", "Highest risk")}, Width: 16},
				{Title: "Rules", Shape: table, View: findings, By: []bucket{by("rule.name", "Rule", 20)},
					Show: []measure{howMany, maxOf("event.risk_score", "Highest risk")}, Width: 16},
			}},
			{18, []panel{{Title: "Findings", Shape: list, View: findings, Columns: findingColumns, Sort: "event.risk_score", Width: 48}}},
		},
	}
}

func entity() dashboard {
	conn := is("event.dataset", "tidewatch.conn")
	return dashboard{
		ID: "entity", Title: "tidewatch: entity", Control: "related.ip",
		Description: "One host: choose its address on top, or click on it in another dashboard. Peers and new names need records of kind conn, dns and tls.",
		Rows: []row{
			{12, []panel{
				{Title: "Findings over time, by detector", Shape: bars, View: findings, By: []bucket{byDetector, overTime}, Show: []measure{howMany}, Width: 24},
				{Title: "Rules", Shape: table, View: findings, By: []bucket{by("rule.name", "Rule", 20)},
					Show: []measure{maxOf("event.risk_score", "Highest risk"), howMany}, Width: 24},
			}},
			{16, []panel{{Title: "Observed, and what is normal", Shape: list, View: findings,
				Columns: []string{"event.action", "event.reason", "tidewatch.baseline.text", "tidewatch.evidence.text", "tidewatch.sample.uid", "network.community_id"}, Sort: "@timestamp", Width: 48}}},
			{12, []panel{
				{Title: "Bytes sent against usual (exfiltration)", Shape: across, View: findings, Where: []condition{is("event.action", "exfiltration")},
					By: []bucket{by("tidewatch.subject.value", "Entity", 10)}, Show: []measure{maxOf("tidewatch.exfiltration.bytes", "Sent"), maxOf("tidewatch.exfiltration.bytes_usual", "Usual a day")}, Width: 16},
				{Title: "First contacts that fail (scan; usual: 0.2)", Shape: across, View: findings, Where: []condition{is("event.action", "scan")},
					By: []bucket{by("tidewatch.subject.value", "Entity", 10)}, Show: []measure{maxOf("tidewatch.scan.failure_rate", "Share that failed")}, Width: 16},
				{Title: "Local hosts that share the far end (beacon)", Shape: across, View: findings, Where: []condition{is("event.action", "beacon")},
					By: []bucket{by("tidewatch.subject.value", "Entity", 10)}, Show: []measure{maxOf("tidewatch.beacon.hosts_sharing", "Share it"), maxOf("tidewatch.beacon.hosts_known", "Known")}, Width: 16},
			}},
			{15, []panel{
				{Title: "Peers by bytes (records: conn)", Shape: table, View: records, Where: []condition{conn}, By: []bucket{by("destination.ip", "Peer", 20)},
					Show: []measure{sumOf("network.bytes", "Bytes"), sumOf("source.bytes", "From the source"), count("Connections")}, Width: 24},
				{Title: "Different peers over time (records: conn)", Shape: bars, View: records, Where: []condition{conn}, By: []bucket{overTime},
					Show: []measure{distinctOf("destination.ip", "Peers")}, Width: 24},
			}},
			{15, []panel{
				{Title: "Names that few hosts here deal with (records: dns, tls, http)", Shape: table, View: records, Where: []condition{atMost("tidewatch.far.domain_hosts", 1)},
					By: []bucket{by("tidewatch.far.domain", "Domain", 20)}, Show: []measure{count("Records"), distinctOf("source.ip", "Sources")}, Width: 20},
				{Title: "New things: domains by when they were first seen (records: dns, tls, http)", Shape: list, View: records, Where: []condition{has("tidewatch.far.domain_since")},
					Columns: []string{"tidewatch.far.domain", "tidewatch.far.domain_since", "tidewatch.far.domain_hosts", "event.dataset", "source.ip", "tidewatch.uid"}, Sort: "tidewatch.far.domain_since", Width: 28},
			}},
		},
	}
}

func beacons() dashboard {
	beacon := []condition{is("event.action", "beacon")}
	return dashboard{
		ID: "beacons", Title: "tidewatch: beacons",
		Description: "What calls home: how often, how evenly, and when it is to call next.",
		Rows: []row{
			{14, []panel{
				{Title: "Period and jitter", Shape: heat, View: findings, Where: beacon, By: []bucket{
					within("tidewatch.beacon.jitter", "Jitter, share of the period", 0.0, "below 5 %", 0.05, "5–10 %", 0.1, "10–20 %", 0.2, "20–40 %", 0.4, "40 % and more"),
					within("tidewatch.beacon.period_seconds", "Period", 0.0, "below 10 s", 10.0, "10–60 s", 60.0, "1–5 min", 300.0, "5–15 min", 900.0, "15–60 min", 3600.0, "1–6 h", 21600.0, "6 h and more"),
				}, Show: []measure{howMany}, Width: 24},
				{Title: "Beacons over time, by kind", Shape: bars, View: findings, Where: beacon, By: []bucket{by("tidewatch.beacon.kind", "Kind", 5), overTime}, Show: []measure{howMany}, Width: 24},
			}},
			{15, []panel{{Title: "Beacons", Shape: table, View: findings, Where: beacon, By: []bucket{by("tidewatch.subject.value", "Who calls whom", 25)},
				Show: []measure{maxOf("event.risk_score", "Highest risk"), averageOf("tidewatch.beacon.period_seconds", "Period, s"), averageOf("tidewatch.beacon.jitter", "Jitter"),
					averageOf("tidewatch.beacon.missed", "Missed"), maxOf("tidewatch.beacon.contacts", "Contacts"), maxOf("tidewatch.beacon.hosts_sharing", "Hosts that share it")}, Width: 48}}},
			{18, []panel{{Title: "Next expected", Shape: list, View: findings, Where: beacon,
				Columns: []string{"tidewatch.beacon.next_expected", "source.ip", "destination.ip", "destination.domain", "tidewatch.beacon.period_seconds", "tidewatch.beacon.jitter", "tidewatch.beacon.contacts", "tidewatch.sample.uid"},
				Sort:    "tidewatch.beacon.next_expected", Width: 48}}},
		},
	}
}

func exfiltration() dashboard {
	exfil := []condition{is("event.action", "exfiltration")}
	outbound := []condition{is("event.dataset", "tidewatch.conn"), is("network.direction", "outbound")}
	return dashboard{
		ID: "exfiltration", Title: "tidewatch: exfiltration",
		Description: "What was sent out, against what the destination usually gets. Bytes of all connections need records of kind conn.",
		Rows: []row{
			{14, []panel{
				{Title: "Bytes out against usual, by source", Shape: across, View: findings, Where: exfil, By: []bucket{bySource},
					Show: []measure{maxOf("tidewatch.exfiltration.bytes", "Sent"), maxOf("tidewatch.exfiltration.bytes_usual", "Usual a day")}, Width: 24},
				{Title: "Most bytes out over time, by kind", Shape: bars, View: findings, Where: exfil, By: []bucket{by("tidewatch.exfiltration.kind", "Kind", 8), overTime},
					Show: []measure{maxOf("tidewatch.exfiltration.bytes", "Sent")}, Width: 24},
			}},
			{14, []panel{
				{Title: "Destinations", Shape: table, View: findings, Where: exfil, By: []bucket{by("destination.domain", "Destination", 20)},
					Show: []measure{maxOf("tidewatch.exfiltration.bytes", "Sent"), maxOf("tidewatch.exfiltration.bytes_usual", "Usual a day"), maxOf("tidewatch.exfiltration.rate_bytes_per_second", "Bytes a second"),
						maxOf("tidewatch.exfiltration.prevalence", "Share of hosts"), maxOf("event.risk_score", "Highest risk")}, Width: 48},
			}},
			{14, []panel{
				{Title: "Bytes out over time, by source (records: conn)", Shape: bars, View: records, Where: outbound, By: []bucket{by("source.ip", "Source", 8), overTime},
					Show: []measure{sumOf("source.bytes", "Sent")}, Width: 24},
				{Title: "Bytes out and in, by source (records: conn)", Shape: table, View: records, Where: outbound, By: []bucket{bySource},
					Show: []measure{sumOf("source.bytes", "Sent"), sumOf("destination.bytes", "Received"), count("Connections")}, Width: 24},
			}},
			{18, []panel{{Title: "Exfiltration", Shape: list, View: findings, Where: exfil,
				Columns: []string{"event.severity", "source.ip", "destination.ip", "destination.domain", "tidewatch.exfiltration.bytes", "tidewatch.exfiltration.bytes_usual", "event.reason", "tidewatch.sample.uid"},
				Sort:    "event.risk_score", Width: 48}}},
		},
	}
}

func scanning() dashboard {
	scan := []condition{is("event.action", "scan")}
	return dashboard{
		ID: "scanning", Title: "tidewatch: scanning",
		Description: "Who looks for hosts and ports that answer, and which did.",
		Rows: []row{
			{14, []panel{
				{Title: "Ports and targets", Shape: heat, View: findings, Where: scan, By: []bucket{
					within("tidewatch.scan.ports", "Ports tried", 0.0, "one", 2.0, "2–9", 10.0, "10–99", 100.0, "100–999", 1000.0, "1,000 and more"),
					within("tidewatch.scan.targets", "Hosts tried", 0.0, "one", 2.0, "2–9", 10.0, "10–99", 100.0, "100–999", 1000.0, "1,000 and more"),
				}, Show: []measure{howMany}, Width: 24},
				{Title: "Scans over time, by shape", Shape: bars, View: findings, Where: scan, By: []bucket{by("tidewatch.scan.shape", "Shape", 6), overTime}, Show: []measure{howMany}, Width: 24},
			}},
			{15, []panel{
				{Title: "Ports", Shape: table, View: findings, Where: scan, By: []bucket{by("tidewatch.scan.top_ports", "Port", 20)},
					Show: []measure{maxOf("tidewatch.scan.targets", "Most targets"), distinctOf("source.ip", "Sources"), howMany}, Width: 20},
				{Title: "Scanners", Shape: table, View: findings, Where: scan, By: []bucket{bySource},
					Show: []measure{maxOf("tidewatch.scan.targets", "Most targets"), maxOf("tidewatch.scan.ports", "Most ports"), maxOf("tidewatch.scan.failure_rate", "Share that failed"),
						maxOf("tidewatch.scan.answered_hosts", "Hosts that answered"), maxOf("event.risk_score", "Highest risk")}, Width: 28},
			}},
			{18, []panel{{Title: "Scans", Shape: list, View: findings, Where: scan,
				Columns: []string{"event.severity", "source.ip", "network.direction", "tidewatch.scan.targets", "tidewatch.scan.ports", "tidewatch.scan.top_ports", "tidewatch.scan.answered_targets", "event.reason"},
				Sort:    "tidewatch.scan.targets", Width: 48}}},
		},
	}
}

func sensors() dashboard {
	bySensor := by("event.provider", "Sensor", 10)
	return dashboard{
		ID: "sensors", Title: "tidewatch: sensors",
		Description: "Whether the sensors see what there is to see. All but findings need records; lag and refused lines are in the metrics of the sidecar.",
		Rows: []row{
			{13, []panel{
				{Title: "Records over time, by sensor", Shape: bars, View: records, By: []bucket{bySensor, overTime}, Show: []measure{count("Records")}, Width: 24},
				{Title: "Records over time, by kind", Shape: bars, View: records, By: []bucket{by("event.dataset", "Kind", 15), overTime}, Show: []measure{count("Records")}, Width: 24},
			}},
			{14, []panel{
				{Title: "Records by sensor and kind", Shape: table, View: records, By: []bucket{bySensor, by("event.dataset", "Kind", 20)},
					Show: []measure{count("Records"), distinctOf("source.ip", "Sources"), distinctOf("destination.ip", "Destinations")}, Width: 24},
				{Title: "Bytes that the sensor missed (records: conn)", Shape: bars, View: records, Where: []condition{has("tidewatch.conn.missed_bytes")},
					By: []bucket{bySensor, overTime}, Show: []measure{sumOf("tidewatch.conn.missed_bytes", "Missed")}, Width: 24},
			}},
			{14, []panel{
				{Title: "Odd traffic (records: weird, anomaly)", Shape: table, View: records, Where: []condition{has("tidewatch.notice.name")},
					By: []bucket{by("tidewatch.notice.name", "What", 20)}, Show: []measure{count("Records"), distinctOf("source.ip", "Sources")}, Width: 24},
				{Title: "Findings by sensor", Shape: across, View: findings, By: []bucket{bySensor}, Show: []measure{howMany}, Width: 24},
			}},
			{16, []panel{{Title: "What the sensors found themselves", Shape: list, View: findings, Where: []condition{is("rule.category", "sensor")},
				Columns: findingColumns, Sort: "@timestamp", Width: 48}}},
		},
	}
}
