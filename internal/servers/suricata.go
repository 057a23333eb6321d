package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Suricata is a sensor that reads captures as they are put into a folder, and writes
// EVE all the while.
type Suricata struct {
	EVE string // path of its log

	captures string
	process  *Process
}

// suricataSettings has the folder and, perhaps, a second output.
const suricataSettings = `%%YAML 1.1
---
vars:
  address-groups: {HOME_NET: "[10.0.0.0/8]", EXTERNAL_NET: "!$HOME_NET"}
runmode: single
default-log-dir: %[1]s
classification-file: /dev/null
reference-config-file: /dev/null
logging:
  default-log-level: notice
  outputs: [{console: {enabled: yes}}]
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [{dns: {version: 2}}, flow]}
%[2]s
app-layer:
  protocols:
    dns: {udp: {enabled: yes, detection-ports: {dp: 53}}, tcp: {enabled: yes, detection-ports: {dp: 53}}}
pcap-file: {checksum-checks: "no", poll-interval: 1, delay: 1}
unix-command: {enabled: "no"}
`

// StartSuricata starts Suricata 7 with a first capture: it waits for one before it
// runs. If socket is not empty, it writes to that unix
// socket too, of type "unix_stream" or "unix_dgram": somebody must listen there.
func StartSuricata(t testing.TB, first []byte, kind, socket string) *Suricata {
	t.Helper()
	program, err := exec.LookPath("suricata")
	if err != nil {
		missing(t, err)
	}
	dir := t.TempDir()
	s := &Suricata{EVE: filepath.Join(dir, "eve.json"), captures: filepath.Join(dir, "captures")}
	second := ""
	if socket != "" {
		second = fmt.Sprintf("  - eve-log: {enabled: yes, filetype: %s, filename: %s, types: [{dns: {version: 2}}, flow]}", kind, socket)
	}
	settings := filepath.Join(dir, "suricata.yaml")
	if err := errors.Join(os.Mkdir(s.captures, 0o700), os.WriteFile(settings, fmt.Appendf(nil, suricataSettings, dir, second), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.process = &Process{
		Log: filepath.Join(dir, "printed"),
		command: func() *exec.Cmd {
			return exec.Command(program, "-c", settings, "-l", dir, "-r", s.captures, "--pcap-file-continuous", "-k", "none")
		},
	}
	if err := s.Feed("first.pcap", first); err != nil {
		t.Fatal(err)
	}
	s.process.ready = func(context.Context) error {
		printed, err := os.ReadFile(s.process.Log)
		if err == nil && !bytes.Contains(printed, []byte("Engine started")) {
			err = errors.New("not started yet")
		}
		return err
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Feed gives a capture to the sensor.
func (s *Suricata) Feed(name string, capture []byte) error {
	hidden := filepath.Join(s.captures, "."+name)
	if err := os.WriteFile(hidden, capture, 0o600); err != nil {
		return err
	}
	return os.Rename(hidden, filepath.Join(s.captures, name))
}

// Rotate renames the log and tells the sensor so, as logrotate does. Its next record
// goes to a new file.
func (s *Suricata) Rotate(to string) error {
	if err := os.Rename(s.EVE, to); err != nil {
		return err
	}
	return s.process.cmd.Process.Signal(syscall.SIGHUP)
}

// Stop lets the sensor write what it has and end.
func (s *Suricata) Stop() { s.process.Stop() }
