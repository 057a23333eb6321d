package webhook

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"tidewatch/event"
	"tidewatch/outputs"
)

// body appends the body of a request about findings. now, in Unix nanoseconds, becomes
// event.ingested.
func (o *Output) body(b []byte, fs []event.Finding, now int64) []byte {
	if o.cfg.Template == Slack {
		return appendSlack(b, fs)
	}
	b = append(b, `{"findings":[`...)
	for i := range fs {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.encoder.Finding(b, &fs[i], now)
	}
	return append(b, "]}"...)
}

// appendSlack appends a message with a block for each finding. Whatever stands in one
// came from the network: "&", "<" and ">" are written as entities, so that nothing is a
// link, a mention or a call to a channel, and "verbatim" keeps Slack from making links of
// what looks like an address. Asterisks and the like may embolden, and no more.
func appendSlack(b []byte, fs []event.Finding) []byte {
	summary := fmt.Sprintf("%d findings", len(fs))
	if len(fs) == 1 {
		summary = fs[0].Severity().String() + ": " + slackText(fs[0].Rule.Name, maxSlackName)
	}
	b = outputs.AppendString(append(b, `{"text":`...), summary)
	b = append(b, `,"mrkdwn":false,"unfurl_links":false,"blocks":[`...)
	for i := range fs {
		f := &fs[i]
		if i > 0 {
			b = append(b, ',')
		}
		text := fmt.Sprintf("*%s: %s* (risk %.0f)\n%s", f.Severity(), slackText(f.Rule.Name, maxSlackName), f.Risk, slackText(f.Reason, maxSlackReason))
		b = append(b, `{"type":"section","text":{"type":"mrkdwn","verbatim":true,"text":`...)
		b = append(outputs.AppendString(b, text), "}}"...)
	}
	return append(b, "]}"...)
}

// Slack takes 3,000 characters of a block; each of these may grow by a factor of five.
const (
	maxSlackName   = 100
	maxSlackReason = 450
)

var slackEntities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackText returns a text of at most n bytes, in one line, that Slack shows as it is.
func slackText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return slackEntities.Replace(outputs.Printable(s))
}
