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
	{"tidewatch.suppressed", Long, "reports that the rule's `suppress` held back since the last document of the same subject"},
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

// RecordFields are the fields that the documents of records may have. Those outside
// tidewatch.* are ECS fields.
var RecordFields = append(recordECS, recordOwn()...)

var recordECS = []DocumentField{
	{"@timestamp", Date, "Zeek's `ts`, EVE's `timestamp`"},
	{"ecs.version", Keyword, "version of the schema: 8.17.0"},
	{"message", Text, "of notices and alerts: what they say"},
	{"event.kind", Keyword, "`event`; `alert` for notices and Suricata alerts; `metric` for stats"},
	{"event.category", Keyword, "`network`, and `web`, `file` or `intrusion_detection`"},
	{"event.type", Keyword, "of connections by their state; of alerts by their action; else by kind"},
	{"event.module", Keyword, "`zeek` or `suricata`"},
	{"event.dataset", Keyword, "`tidewatch.<kind>`"},
	{"event.provider", Keyword, "`zeek` or `suricata`"},
	{"event.id", Keyword, "Zeek's uid, Suricata's flow id"},
	{"event.outcome", Keyword, "of DNS by its rcode, HTTP by its status, TLS, SSH and Kerberos by success"},
	{"event.action", Keyword, "of HTTP: the method in lower case"},
	{"event.start", Date, "begin of the connection"},
	{"event.end", Date, "end of the connection"},
	{"event.duration", Long, "nanoseconds"},
	{"event.severity", Long, "of alerts: Suricata's 1, 2, 3 as 73, 47, 21"},
	{"event.ingested", Date, "when the document was sent"},
	{"source.address", Keyword, "as `source.ip`"},
	{"source.ip", IP, "the originator"},
	{"source.port", Long, "its port"},
	{"source.mac", Keyword, "as `00-00-5E-00-53-23`"},
	{"source.bytes", Long, "bytes of whole IP packets that it sent"},
	{"source.packets", Long, "packets that it sent"},
	{"destination.address", Keyword, "as `destination.ip`"},
	{"destination.ip", IP, "the responder"},
	{"destination.port", Long, "its port"},
	{"destination.domain", Keyword, "server name, Host, or the name by which the originator found it"},
	{"destination.mac", Keyword, "as `00-00-5E-00-53-23`"},
	{"destination.bytes", Long, "bytes of whole IP packets that it sent"},
	{"destination.packets", Long, "packets that it sent"},
	{"client.address", Keyword, "of TLS: as `source.ip`"},
	{"client.ip", IP, "of TLS: as `source.ip`"},
	{"server.address", Keyword, "of TLS: as `destination.ip`"},
	{"server.ip", IP, "of TLS: as `destination.ip`"},
	{"network.transport", Keyword, "`tcp`, `udp`, `icmp`, …"},
	{"network.protocol", Keyword, "what the sensor recognised, and else by kind"},
	{"network.direction", Keyword, "`inbound`, `outbound`, `internal` or `external`"},
	{"network.community_id", Keyword, "version 1, seed 0"},
	{"network.bytes", Long, "of both sides"},
	{"network.packets", Long, "of both sides"},
	{"network.vlan.id", Keyword, "the outer VLAN"},
	{"network.inner.vlan.id", Keyword, "the inner VLAN"},
	{"dns.id", Keyword, "transaction id"},
	{"dns.type", Keyword, "`query` or `answer`"},
	{"dns.response_code", Keyword, "such as `NOERROR`"},
	{"dns.question.name", Keyword, "the name, as written"},
	{"dns.question.registered_domain", Keyword, "by the public suffix list"},
	{"dns.question.subdomain", Keyword, "what stands before it"},
	{"dns.question.top_level_domain", Keyword, "the public suffix"},
	{"dns.question.class", Keyword, "such as `IN`"},
	{"dns.question.type", Keyword, "such as `A`"},
	{"dns.header_flags", Keyword, "`AA`, `TC`, `RD`, `RA`, those that are set"},
	{"dns.answers.data", Keyword, "each answer"},
	{"dns.answers.ttl", Long, "its time to live, where there is one for each"},
	{"dns.resolved_ip", IP, "answers that are addresses"},
	{"tls.version", Keyword, "such as `1.3`"},
	{"tls.version_protocol", Keyword, "`tls`, `ssl` or `dtls`"},
	{"tls.cipher", Keyword, "cipher suite"},
	{"tls.curve", Keyword, "elliptic curve"},
	{"tls.next_protocol", Keyword, "ALPN"},
	{"tls.established", Boolean, "the handshake was completed"},
	{"tls.resumed", Boolean, "of an earlier session"},
	{"tls.client.server_name", Keyword, "SNI"},
	{"tls.client.ja3", Keyword, "JA3"},
	{"tls.client.subject", Keyword, "of the client's certificate"},
	{"tls.client.issuer", Keyword, "of the client's certificate"},
	{"tls.server.subject", Keyword, "of the server's certificate"},
	{"tls.server.issuer", Keyword, "of the server's certificate"},
	{"tls.server.ja3s", Keyword, "JA3S"},
	{"tls.server.hash.sha1", Keyword, "fingerprint, upper case"},
	{"tls.server.hash.sha256", Keyword, "fingerprint, upper case"},
	{"tls.server.not_before", Date, "of the server's certificate"},
	{"tls.server.not_after", Date, "of the server's certificate"},
	{"tls.server.x509.serial_number", Keyword, "upper case, without colons"},
	{"tls.server.x509.not_before", Date, "as above"},
	{"tls.server.x509.not_after", Date, "as above"},
	{"http.version", Keyword, "such as `1.1`"},
	{"http.request.method", Keyword, "as written"},
	{"http.request.referrer", Keyword, "Referer"},
	{"http.request.mime_type", Keyword, "of the first body"},
	{"http.request.body.bytes", Long, "of the body"},
	{"http.response.status_code", Long, "such as 200"},
	{"http.response.mime_type", Keyword, "of the first body"},
	{"http.response.body.bytes", Long, "of the body"},
	{"url.original", Keyword, "as written"},
	{"url.path", Keyword, "path"},
	{"url.query", Keyword, "query"},
	{"url.fragment", Keyword, "fragment"},
	{"url.domain", Keyword, "Host"},
	{"url.username", Keyword, "of basic authentication"},
	{"user_agent.original", Keyword, "User-Agent"},
	{"user.name", Keyword, "of FTP and its like"},
	{"file.name", Keyword, "name"},
	{"file.path", Keyword, "name with its folders"},
	{"file.mime_type", Keyword, "by its content"},
	{"file.size", Long, "bytes"},
	{"file.hash.md5", Keyword, "MD5"},
	{"file.hash.sha1", Keyword, "SHA-1"},
	{"file.hash.sha256", Keyword, "SHA-256"},
	{"file.x509.version_number", Keyword, "of the certificate"},
	{"file.x509.serial_number", Keyword, "upper case, without colons"},
	{"file.x509.not_before", Date, "of the certificate"},
	{"file.x509.not_after", Date, "of the certificate"},
	{"file.x509.public_key_algorithm", Keyword, "of the certificate"},
	{"file.x509.public_key_size", Long, "bits"},
	{"file.x509.signature_algorithm", Keyword, "of the certificate"},
	{"file.x509.alternative_names", Keyword, "names and addresses"},
	{"rule.id", Keyword, "signature id"},
	{"rule.name", Keyword, "signature, or the notice's name"},
	{"rule.category", Keyword, "classification"},
	{"rule.version", Keyword, "revision"},
	{"rule.description", Keyword, "what a notice says"},
	{"related.ip", IP, "every address in the document"},
	{"related.hosts", Keyword, "every name in the document"},
	{"related.hash", Keyword, "every hash in the document"},
	{"observer.type", Keyword, "`ids`"},
	{"observer.vendor", Keyword, "`Zeek` or `OISF`"},
	{"observer.product", Keyword, "`Zeek` or `Suricata`"},
}

// recordOwn are the fields of records outside ECS, and those that repeat by a pattern.
func recordOwn() []DocumentField {
	var fs []DocumentField
	for _, of := range []string{"tls.client.x509", "tls.server.x509", "file.x509"} {
		for _, who := range []string{"subject", "issuer"} {
			fs = append(fs, DocumentField{of + "." + who + ".distinguished_name", Keyword, "as written"})
			for _, k := range nameKeys {
				fs = append(fs, DocumentField{of + "." + who + "." + k.field, Keyword, k.attribute + " of it"})
			}
		}
	}
	fs = append(fs,
		DocumentField{"tidewatch.uid", Keyword, "Zeek's uid, Suricata's flow id"},
		DocumentField{"tidewatch.tx_id", Long, "Suricata's number of the transaction"},
		DocumentField{"tidewatch.outcome", Keyword, "of connections: `answered`, `rejected`, `silent` or `unknown`"},
		DocumentField{"tidewatch.icmp.type", Long, "ICMP type"},
		DocumentField{"tidewatch.icmp.code", Long, "ICMP code"},
		DocumentField{"tidewatch.written", Date, "when the sensor wrote the record"},
	)
	for i := range groups {
		for _, c := range groups[i].columns {
			fs = append(fs, DocumentField{"tidewatch." + c.String(), ownColumns[c].typ, "column `" + c.String() + "` of the record"})
		}
	}
	return append(fs,
		DocumentField{"tidewatch.far.name", Keyword, "what the far end is called"},
		DocumentField{"tidewatch.far.domain", Keyword, "its registered domain"},
		DocumentField{"tidewatch.far.name_source", Keyword, "how the name is known"},
		DocumentField{"tidewatch.far.hosts", Long, "local hosts that were active in the last 30 days"},
		DocumentField{"tidewatch.far.addr_hosts", Long, "those of them that dealt with this address"},
		DocumentField{"tidewatch.far.addr_since", Date, "first record about the address"},
		DocumentField{"tidewatch.far.name_hosts", Long, "local hosts that dealt with this name"},
		DocumentField{"tidewatch.far.domain_hosts", Long, "local hosts that dealt with this domain"},
		DocumentField{"tidewatch.far.domain_since", Date, "first record about the domain"},
		DocumentField{"tidewatch.far.rank", Long, "place in the list of popular domains"},
		DocumentField{"tidewatch.far.class", Keyword, "kind of service"},
		DocumentField{"tidewatch.extra.name", Keyword, "column that was asked for by name"},
		DocumentField{"tidewatch.extra.value", Keyword, "its value"},
	)
}
