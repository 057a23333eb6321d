package zeek

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	gojson "github.com/goccy/go-json"

	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

// The records of the two logs with the columns, and the types, that our events
// have of them.

type rivalCommon struct {
	Path  string     `json:"_path"`
	Write time.Time  `json:"_write_ts"`
	TS    time.Time  `json:"ts"`
	UID   string     `json:"uid"`
	OrigH netip.Addr `json:"id.orig_h"`
	OrigP uint16     `json:"id.orig_p"`
	RespH netip.Addr `json:"id.resp_h"`
	RespP uint16     `json:"id.resp_p"`
	Proto string     `json:"proto"`
}

type rivalDNS struct {
	rivalCommon
	TransID    uint16    `json:"trans_id"`
	RTT        float64   `json:"rtt"`
	Query      string    `json:"query"`
	QClass     uint16    `json:"qclass"`
	QClassName string    `json:"qclass_name"`
	QType      uint16    `json:"qtype"`
	QTypeName  string    `json:"qtype_name"`
	RCode      uint16    `json:"rcode"`
	RCodeName  string    `json:"rcode_name"`
	AA         bool      `json:"AA"`
	TC         bool      `json:"TC"`
	RD         bool      `json:"RD"`
	RA         bool      `json:"RA"`
	Z          uint16    `json:"Z"`
	Answers    []string  `json:"answers"`
	TTLs       []float64 `json:"TTLs"`
	Rejected   bool      `json:"rejected"`
}

type rivalTLS struct {
	rivalCommon
	Version         string   `json:"version"`
	Cipher          string   `json:"cipher"`
	Curve           string   `json:"curve"`
	ServerName      string   `json:"server_name"`
	Resumed         bool     `json:"resumed"`
	LastAlert       string   `json:"last_alert"`
	NextProtocol    string   `json:"next_protocol"`
	Established     bool     `json:"established"`
	History         string   `json:"ssl_history"`
	CertChain       []string `json:"cert_chain_fps"`
	ClientCertChain []string `json:"client_cert_chain_fps"`
	SNIMatchesCert  bool     `json:"sni_matches_cert"`
	Validation      string   `json:"validation_status"`
}

func BenchmarkJSON(b *testing.B) {
	for _, name := range []string{"dns", "ssl"} {
		data := readLog(b, shareddata.Path(b, "zeek/wrccdc/"+name+".json.gz"))
		b.Run(name+"/ours", func(b *testing.B) {
			benchParse(b, data, func() parsers.Parser { return NewJSON(parsers.Options{}) })
		})
		b.Run(name+"/encoding_json", func(b *testing.B) { benchRival(b, name, data, json.Unmarshal) })
		b.Run(name+"/goccy", func(b *testing.B) {
			benchRival(b, name, data, func(line []byte, v any) error { return gojson.Unmarshal(line, v) })
		})
	}
}

func benchRival(b *testing.B, name string, data []byte, unmarshal func([]byte, any) error) {
	lines := logLines(data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for _, line := range lines {
			var err error
			if name == "dns" {
				var r rivalDNS
				err = unmarshal(line, &r)
			} else {
				var r rivalTLS
				err = unmarshal(line, &r)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
