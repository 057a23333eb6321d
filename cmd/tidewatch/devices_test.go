package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidewatch/internal/monitor"
)

// TestMovingLaptopIsOneEntity analyzes a laptop that calls home every ten minutes and is
// given another address in the middle. All its contacts are one beacon, which is told once, by the address that the laptop has then, with the name it gives itself; who
// got its old address is not blamed.
func TestMovingLaptopIsOneEntity(t *testing.T) {
	const begin = 1767600000
	analyze := func(dhcp bool) []string {
		dir := t.TempDir()
		var conns, leases strings.Builder
		lease := func(at int, mac, name, addr string) {
			fmt.Fprintf(&leases, `{"_path":"dhcp","ts":%d.0,"uids":["CD%d"],"client_addr":%q,"server_addr":"10.0.0.1","mac":%q,"host_name":%q,"assigned_addr":%q,"lease_time":86400.0,"msg_types":["REQUEST","ACK"],"duration":0.1}`+"\n",
				begin+at, at, addr, mac, name, addr)
		}
		for i := range 20 {
			from := "10.0.0.5"
			if i >= 10 {
				from = "10.0.0.9"
			}
			fmt.Fprintf(&conns, `{"_path":"conn","ts":%d.0,"uid":"C%d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":"203.0.113.9","id.resp_p":443,"proto":"tcp","conn_state":"SF","duration":1.0,"orig_bytes":500,"resp_bytes":900,"orig_pkts":8,"orig_ip_bytes":900,"resp_pkts":8,"resp_ip_bytes":1300}`+"\n",
				begin+600*(i+1)+(i*7919)%400, i, from, 40000+i)
		}
		lease(10, "00:00:5e:00:53:01", "laptop7", "10.0.0.5")
		lease(600*10+900, "00:00:5e:00:53:01", "laptop7", "10.0.0.9")
		lease(600*10+950, "00:00:5e:00:53:02", "printer1", "10.0.0.5")
		files := map[string]string{"conn.log": conns.String()}
		if dhcp {
			files["dhcp.log"] = leases.String()
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		set, err := loadRules(nil)
		if err != nil {
			t.Fatal(err)
		}
		a := &analysis{term: terminal{}, opts: analyzeOptions{output: "table"}, rules: set}
		if err := a.run(t.Context(), []string{dir}); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, f := range a.findings.sorted() {
			if f.Detector == "beacon" {
				told = append(told, fmt.Sprintf("%s %s of %s: %s", f.Source.Addr, f.Source.About.HostName(), f.Source.Entity, f.Reason))
				if f.Source.Entity.IsValid() {
					moved := false
					for _, e := range f.Evidence {
						moved = moved || e.Feature == "beacon.moved"
					}
					if !moved {
						t.Errorf("it does not say that it has moved: %+v", f.Evidence)
					}
				}
			}
		}
		return told
	}
	without, with := analyze(false), analyze(true)
	t.Log(strings.Join(without, "\n"))
	t.Log(strings.Join(with, "\n"))
	if len(with) != 1 || !strings.HasPrefix(with[0], "10.0.0.9 laptop7 of 10.0.0.5: ") || strings.Contains(with[0][30:], "10.0.0.5") {
		t.Errorf("told is %q", with)
	}
	if len(with) == 1 && !strings.Contains(with[0], ": 20 times in") {
		t.Errorf("not all contacts count: %q", with)
	}
	if strings.Contains(strings.Join(without, ""), ": 20 times in") {
		t.Errorf("without DHCP it is one entity: %q", without)
	}
}

// TestStateOfMovedLaptop: what a sidecar knows of a laptop that has moved is shown, and
// forgotten, by the address that it has now.
func TestStateOfMovedLaptop(t *testing.T) {
	s := newSite(t)
	const begin = 1795132800
	s.write(filepath.Join(filepath.Dir(s.log), "dhcp.log"), fmt.Sprintf(
		`{"_path":"dhcp","ts":%d.0,"uids":["CD1"],"mac":"00:00:5e:00:53:01","host_name":"laptop7","assigned_addr":"10.0.0.5","lease_time":86400.0,"msg_types":["REQUEST","ACK"]}`+"\n"+
			`{"_path":"dhcp","ts":%d.0,"uids":["CD2"],"mac":"00:00:5e:00:53:01","host_name":"laptop7","assigned_addr":"10.0.0.9","lease_time":86400.0,"msg_types":["REQUEST","ACK"]}`+"\n", begin, begin+100))
	p := s.start()
	p.untilStatus("the leases are read", func(st *monitor.Status) bool { return st.Records["dhcp"] == 2 })
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 30 {
		fmt.Fprintf(f, "%d.000000\tC%d\t10.0.0.9\t%d\t203.0.113.9\t443\ttcp\tSF\n", begin+200+i, i, 40000+i)
	}
	p.records(30)
	if code := p.stop(os.Interrupt); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	status, out, errs := tidewatch(t, "state", "show", "-c", s.config, "10.0.0.9")
	if status != 0 || !strings.Contains(out, "10.0.0.5") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	if status, out, errs = tidewatch(t, "state", "forget", "-c", s.config, "10.0.0.9"); status != 0 {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	for _, addr := range []string{"10.0.0.9", "10.0.0.5"} {
		if status, out, _ := tidewatch(t, "state", "show", "-c", s.config, addr); status == 0 {
			t.Errorf("%s is still known: %s", addr, out)
		}
	}
}
