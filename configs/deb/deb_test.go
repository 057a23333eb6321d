// Package deb_test looks into the Debian package that `make deb` built.
package deb_test

import (
	"flag"
	"os/exec"
	"strings"
	"testing"
)

var deb = flag.String("deb", "", "the package; `make deb-test` builds it and gives it")

func TestPackage(t *testing.T) {
	if *deb == "" {
		t.Skip("SKIPPED: make deb-test builds the package and runs this")
	}
	run := func(option string) string {
		t.Helper()
		out, err := exec.Command("dpkg-deb", option, *deb).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	files := run("-c")
	for _, want := range []string{
		"-rwxr-xr-x root/root ./usr/bin/tidewatch",
		"-rw-r--r-- root/root ./usr/lib/systemd/system/tidewatch.service",
		"-rw-r--r-- root/root ./etc/tidewatch/tidewatch.toml",
		"drwxr-xr-x root/root ./etc/tidewatch/rules.d/",
		"-rw-r--r-- root/root ./usr/share/man/man1/tidewatch.1.gz",
		"-rw-r--r-- root/root ./usr/share/man/man1/tidewatch-run.1.gz",
		"-rw-r--r-- root/root ./usr/share/bash-completion/completions/tidewatch",
		"-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_tidewatch",
		"-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/tidewatch.fish",
		"-rw-r--r-- root/root ./usr/share/doc/tidewatch/copyright",
		"-rw-r--r-- root/root ./usr/share/doc/tidewatch/examples/zeek-host.toml",
		"-rw-r--r-- root/root ./usr/share/doc/tidewatch/grafana/tidewatch.json",
	} {
		found := false
		for line := range strings.Lines(files) {
			f := strings.Fields(line) // mode, owner, size, date, time, name
			found = found || len(f) == 6 && f[0]+" "+f[1]+" "+f[5] == want
		}
		if !found {
			t.Errorf("no %s in\n%s", want, files)
		}
	}
	if control := run("-I"); !strings.Contains(control, "conffiles") || !strings.Contains(control, "postinst") || !strings.Contains(control, "Package: tidewatch") {
		t.Errorf("%s", control)
	}
}
