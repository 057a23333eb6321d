// Package systemd_test checks the unit with the service manager's own tool.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func systemdAnalyze(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: systemd-analyze is missing")
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// unit returns the path of the unit with a program that exists here.
func unit(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("tidewatch.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tidewatch.service")
	text := strings.Replace(string(b), "/usr/bin/tidewatch", program, 1)
	text = strings.Replace(text, "Documentation=man:tidewatch(1)\n", "", 1) // not installed here
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnit(t *testing.T) {
	if out := systemdAnalyze(t, "verify", "--man=no", unit(t)); strings.Contains(out, "tidewatch.service:") {
		t.Errorf("%s", out)
	}
}

// The service is well shut in: systemd gives it less than 2 of 10 points of exposure.
func TestUnitIsSandboxed(t *testing.T) {
	out := systemdAnalyze(t, "security", "--offline=yes", "--no-pager", unit(t))
	m := regexp.MustCompile(`exposure level for tidewatch.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s", out)
	}
	if points, err := strconv.ParseFloat(m[1], 64); err != nil || points >= 2 {
		t.Errorf("exposure %s\n%s", m[1], out)
	} else {
		t.Logf("exposure %s", m[1])
	}
}
