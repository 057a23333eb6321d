package outputs

// FieldType is a field's type in an index: the core member of its family, which
// Elasticsearch and OpenSearch have in every distribution.
type FieldType string

const (
	Keyword FieldType = "keyword"
	Text    FieldType = "text"
	Long    FieldType = "long"
	Double  FieldType = "double"
	Date    FieldType = "date"
	IP      FieldType = "ip"
	Boolean FieldType = "boolean"
	// Open is an object whose members are not known beforehand: texts, numbers and
	// truths.
	Open FieldType = "object"
)

// DocumentField is one field of documents. Arrays have the type of their elements.
type DocumentField struct {
	Name string
	Type FieldType
	Says string // what it holds, for people
}

// FindingFields are the fields that the documents of findings may have. Those outside
// tidewatch.* are ECS fields.
var FindingFields = []DocumentField{
	{"@timestamp", Date, "event time of the record that completed the evidence"},
	{"ecs.version", Keyword, "version of the schema: 8.17.0"},
	{"message", Text, "the rule's name"},
	{"event.kind", Keyword, "`alert`"},
	{"event.category", Keyword, "`network`, `intrusion_detection`"},
	{"event.type", Keyword, "`info`"},
	{"event.module", Keyword, "`tidewatch`"},
	{"event.dataset", Keyword, "`tidewatch.finding`"},
	{"event.provider", Keyword, "the sensor: `zeek`, `suricata`"},
	{"event.id", Keyword, "the same for the same evidence; also the document's `_id`"},
	{"event.start", Date, "begin of the evidence"},
	{"event.end", Date, "end of the evidence"},
	{"event.duration", Long, "nanoseconds from start to end"},
	{"event.action", Keyword, "the detector, such as `beacon`"},
	{"event.severity", Long, "21, 47, 73 or 99: low, medium, high, critical"},
	{"event.risk_score", Double, "0 to 100"},
	{"event.risk_score_norm", Double, "the same"},
	{"event.reason", Keyword, "one sentence with the numbers in it"},
	{"event.ingested", Date, "when the document was sent"},
	{"rule.id", Keyword, "the rule's name in its file"},
	{"rule.name", Keyword, "the rule's title"},
	{"rule.description", Keyword, "what the rule finds"},
	{"rule.category", Keyword, "the rule's category"},
	{"rule.version", Keyword, "the rule's version"},
	{"rule.ruleset", Keyword, "where the rule comes from"},
	{"rule.reference", Keyword, "the rule's first reference"},
	{"threat.framework", Keyword, "`MITRE ATT&CK`"},
	{"threat.tactic.id", Keyword, "tactics that the techniques serve"},
	{"threat.tactic.name", Keyword, "their names"},
	{"threat.tactic.reference", Keyword, "their pages"},
	{"threat.technique.id", Keyword, "techniques, such as `T1046`"},
	{"threat.technique.name", Keyword, "their names"},
	{"threat.technique.reference", Keyword, "their pages"},
	{"threat.technique.subtechnique.id", Keyword, "sub-techniques, such as `T1595.001`"},
	{"threat.technique.subtechnique.name", Keyword, "their names"},
	{"threat.technique.subtechnique.reference", Keyword, "their pages"},
	{"source.address", Keyword, "as `source.ip`"},
	{"source.ip", IP, "the originator"},
	{"source.port", Long, "its port, if it is one"},
	{"source.domain", Keyword, "its name, if it is known"},
	{"source.bytes", Long, "bytes it sent"},
	{"source.packets", Long, "packets it sent"},
	{"destination.address", Keyword, "as `destination.ip`"},
	{"destination.ip", IP, "the responder, if it is one"},
	{"destination.port", Long, "its port, if it is one"},
	{"destination.domain", Keyword, "its name, if it is known"},
	{"destination.bytes", Long, "bytes it sent"},
	{"destination.packets", Long, "packets it sent"},
	{"network.transport", Keyword, "`tcp`, `udp`, `icmp`, …"},
	{"network.protocol", Keyword, "the application's protocol"},
	{"network.direction", Keyword, "`inbound`, `outbound`, `internal` or `external`"},
	{"network.community_id", Keyword, "of the connection, if it is one"},
	{"network.vlan.id", Keyword, "the outer VLAN"},
	{"dns.question.name", Keyword, "the name, where the case is about one"},
	{"related.ip", IP, "every address in the document"},
	{"related.hosts", Keyword, "every name in the document"},
	{"tags", Keyword, "the rule's tags"},
	{"observer.type", Keyword, "`ids`"},
	{"observer.vendor", Keyword, "`tidewatch`"},
	{"observer.product", Keyword, "`tidewatch`"},
	{"tidewatch.subject.type", Keyword, "whose behaviour it is: `host`, `pair`, `destination`"},
	{"tidewatch.subject.value", Keyword, "which one"},
	{"tidewatch.episode.id", Keyword, "the same for each report on one thing that goes on"},
	{"tidewatch.episode.revision", Long, "number of the report, from 0"},
	{"tidewatch.episode.open", Boolean, "it still goes on"},
	{"tidewatch.score", Double, "0 to 1, before context"},
	{"tidewatch.evidence.feature", Keyword, "what was measured"},
	{"tidewatch.evidence.observed", Double, "what was seen"},
	{"tidewatch.evidence.expected", Double, "what is normal"},
	{"tidewatch.evidence.unit", Keyword, "of both"},
	{"tidewatch.evidence.weight", Double, "how much it counted: above 0 for, below 0 against"},
	{"tidewatch.evidence.text", Keyword, "the same as a clause"},
	{"tidewatch.baseline.since", Date, "first observation that the expectation rests on"},
	{"tidewatch.baseline.observations", Long, "how many there are"},
	{"tidewatch.baseline.text", Keyword, "the same as a clause"},
	{"tidewatch.sample.uid", Keyword, "uid or flow id of a record that made the case"},
	{"tidewatch.sample.time", Date, "its time"},
	{"tidewatch.sample.duration_seconds", Double, "its duration"},
	{"tidewatch.sample.source.ip", IP, "its originator"},
	{"tidewatch.sample.source.port", Long, "and port"},
	{"tidewatch.sample.destination.ip", IP, "its responder"},
	{"tidewatch.sample.destination.port", Long, "and port"},
	{"tidewatch.sample.source_bytes", Long, "bytes that the originator sent"},
	{"tidewatch.sample.destination_bytes", Long, "bytes that the responder sent"},
	{"tidewatch.sample.state", Keyword, "how it ended, in the sensor's words"},
	{"tidewatch.investigate", Text, "what to do next"},
	{"tidewatch.false_positives", Keyword, "what else it may be"},
	{"tidewatch", Open, "`tidewatch.<detector>.*`: the detector's own numbers"},
}
