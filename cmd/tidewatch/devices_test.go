package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
