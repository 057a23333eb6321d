package ingest

import (
	"strings"
	"sync/atomic"
	"testing"

	"tidewatch/internal/shareddata"
)

func TestSniff(t *testing.T) {
	f := func(head string, want Format) {
		t.Helper()
		if got := Sniff([]byte(head)); got != want {
			t.Errorf("Sniff(%q) = %v, want %v", head, got, want)
		}
	}
	f("#separator \\x09\n#set_separator\t,\n", FormatZeekTSV)
	f("\t#separator \\x09\n", FormatZeekTSV)
	f("  #separator \\x09\r\n", FormatZeekTSV)
	f("\ufeff#separator \\x09\n", FormatZeekTSV)
	f("\n\n#separator \\x09\n", FormatZeekTSV)
	f("\x00\x00\x00#separator \\x09\n", FormatZeekTSV)
	f("##!separator |\n", FormatZeekTSV)
	f("#separator  \n", FormatZeekTSV)
	f("#fields\tts\tuid\n", FormatZeekTSV)
	f("#close\t2026-01-01-00-00-00\n#separator \\x09\n", FormatZeekTSV)
	f("ts\tuid\tid.orig_h\n", FormatZeekTSV)
	f("uid\tts\tid.orig_h\n1.5\t", FormatZeekTSV)
	f("1521911721.255387\tC1\t10.0.0.1\t1\t10.0.0.2\t2\ttcp\n", FormatZeekTSV)
	f(`{"ts":1521911721.255387,"uid":"C1"}`, FormatZeekJSON)
	f(`{"_path":"conn","_write_ts":"2018-03-24T17:15:20.865716Z"}`, FormatZeekJSON)
	f(`{"uid":"C1","id":{"orig_h":"10.0.0.1"},"ts":1}`, FormatZeekJSON)
	f(`  {"uid" : "event_type", "ts" : 1}`, FormatZeekJSON)
	f(`{"timestamp":"2026-01-01T00:00:00.000000+0000","flow_id":1,"event_type":"flow"}`, FormatEVE)
	f(`@cee: {"timestamp":"x","event_type":"dns"}`, FormatEVE)
	f(`@cee:{"event_type":"dns"}`, FormatEVE)
	f(`{"timestamp":"x","dns":{"ts":1},"event_type":"dns"}`, FormatEVE)
	f("{\"message\":\"hello\"}\n{\"timestamp\":\"x\",\"event_type\":\"dns\"}\n{\"ts\":1}\n", FormatEVE)
	f(`{"timestamp":"x","event_type":"flow","src_ip":"10.0`, FormatEVE) // cut off

	f("", FormatUnknown)
	f("\n\n", FormatUnknown)
	f(`{"timestamp":"x","flow_id":1,`, FormatUnknown)
	f(`{"message":"\"event_type\":\"flow\""}`, FormatUnknown)
	f(`[{"event_type":"flow"}]`, FormatUnknown)
	f("# fields of the log\n\n## path to it\n#path\n", FormatUnknown)
	f("The separator is a tab.\n#separators are good\n", FormatUnknown)
	f("ts\n", FormatUnknown)
	f("a\tb\tc\n1\t2\t3\t4\t5\t6\t7\n", FormatUnknown)
	f("Jan  1 00:00:00 host sshd[1]: hello\n", FormatUnknown)
	f("\xd4\xc3\xb2\xa1\x02\x00\x04\x00", FormatUnknown)
}

// However much of a log has been read: what it is does not change any more.
func TestSniffIsMonotone(t *testing.T) {
	for _, log := range []string{
		"\n#separator \\x09\n#set_separator\t,\n#fields\tts\tuid\n{\"event_type\":1}\n",
		"ts\tuid\tid.orig_h\n1.5\tC1\t10.0.0.1\n",
		"{\"hello\":1}\n{\"timestamp\":\"x\",\"event_type\":\"dns\",\"ts\":1}\n{\"ts\":1}\n",
		"{\"uid\":\"C1\",\"ts\":1,\"event_type\":\"x\"}\n",
		"1521911721.255387\tC1\t10.0.0.1\t1\t10.0.0.2\t2\ttcp\n",
	} {
		known := FormatUnknown
		for n := range len(log) + 1 {
			f := Sniff([]byte(log[:n]))
			if known != FormatUnknown && f != known {
				t.Errorf("%q: %v after %v", log[:n], f, known)
			}
			known = f
		}
		if known == FormatUnknown {
			t.Errorf("%q is nothing", log)
		}
	}
}

func TestNotALog(t *testing.T) {
	f := func(head, want string, packed bool) {
		t.Helper()
		why, p := notALog([]byte(head))
		if !strings.Contains(string(why), want) || !strings.HasPrefix(string(why), "not a Zeek or Suricata log: ") || p != packed {
			t.Errorf("%q: %q, %v", head, why, p)
		}
	}
	f("# A heading\n", "text of another kind", false)
	f("\xd4\xc3\xb2\xa1\x02\x00", "packet capture", false)
	f("\x0a\x0d\x0d\x0a\x1c\x00", "packet capture", false)
	f("\xfd7zXZ\x00\x00", "xz", true)
	f("BZh91AY", "bzip2", true)
	f("PK\x03\x04", "zip", true)
	f(strings.Repeat("\x00", 257)+"ustar  ", "tar archive", true)
	f("\x7fELF\x02", "binary data", false)
	f("[{\"a\":1}]", "JSON of another kind", false)
	f("{\n  \"ts\": 1\n", "JSON of another kind", false)
}

// Each recorded log is known.
func TestSniffSharedData(t *testing.T) {
	for dir, want := range map[string]Format{
		"zeek/baselines": FormatZeekTSV, "suricata": FormatEVE, "labelled/benign-days": FormatZeekTSV,
	} {
		files, err := Discover([]string{shareddata.Path(t, dir)})
		if err != nil || len(files) == 0 {
			t.Fatal(len(files), err)
		}
		p := newPeeker(defaultWindow)
		for _, file := range files {
			r, err := p.input.open(t.Context(), file, new(atomic.Int64))
			if err != nil {
				t.Fatal(err)
			}
			p.lines.Reset(r, nil)
			got := sniff(&p.lines)
			p.input.close()
			if head, _ := p.lines.Rest(); len(head) > 0 && got != want {
				if got != FormatZeekJSON { // some baselines are JSON
					t.Errorf("%s is %v, want %v: %.80q", file.Path, got, want, head)
				}
			}
		}
	}
}
