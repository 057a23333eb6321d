package main

// ownRules are rules over records, beside the shipped rules of detectors.
const ownRules = `
[rule.soak-marker]
name = "A query that the soak waits for"
severity = "low"
detector = "event"
when = 'dns.question.name startsWith "soak-marker-"'
[rule.soak-busy]
name = "Many connections between two hosts"
severity = "low"
detector = "threshold"
when = 'record.kind == "conn"'
suppress = { by = ["source.ip", "destination.ip"], for = "1h" }
[rule.soak-busy.threshold]
by = ["source.ip", "destination.ip"]
at_least = 30
within = "1h"
`
