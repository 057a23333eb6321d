package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidewatch/internal/monitor"
)

// imageUser is the user of the container's image.
const imageUser = 65532

// TestRunInImage runs the sidecar as the Dockerfile's last stage has it: in a file system
// with nothing but the program, the configuration, logs and state, as a user of no name.
func TestRunInImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can change the root folder")
	}
	t.Parallel()
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"FROM scratch", fmt.Sprintf("USER %d:%[1]d", imageUser), "VOLUME /var/lib/tidewatch", `ENTRYPOINT ["/usr/bin/tidewatch"]`} {
		if !strings.Contains(string(dockerfile), line+"\n") {
			t.Errorf("the Dockerfile has no line %q: this test is of another image", line)
		}
	}
	root := t.TempDir()
	s := &site{t: t, log: filepath.Join(root, "logs/conn.log"), findings: filepath.Join(root, "var/lib/tidewatch/findings.ndjson"), said: filepath.Join(t.TempDir(), "said")}
	for _, d := range []string{"usr/bin", "etc/tidewatch/rules", "logs", "var/lib/tidewatch"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(root, "usr/bin/tidewatch"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.write(filepath.Join(root, "etc/tidewatch/tidewatch.toml"), `[general]
name = "image"
[input.zeek]
paths = ["/logs/*.log"]
start_at = "beginning"
[store]
path = "/var/lib/tidewatch/state"
[output.ndjson]
path = "/var/lib/tidewatch/findings.ndjson"
[rules]
folders = ["/etc/tidewatch/rules"]
look = "0s"
[http]
address = "127.0.0.1:0"
`)
	s.write(s.log, connHeader)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, imageUser, imageUser)
	})
	if err != nil {
		t.Fatal(err)
	}
	within := func(args ...string) *exec.Cmd {
		c := exec.Command("/usr/bin/tidewatch", args...)
		c.Dir, c.Env = "/", []string{}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
		return c
	}
	s.scan(1, 40)
	p := s.begin(within("run"))
	p.untilStatus("it runs", func(st *monitor.Status) bool { return st.State == monitor.Running })
	p.records(40)
	if len(s.found(s.findings)) == 0 {
		t.Error("no finding")
	}
	out, err := within("status", "-o", "json", "--address", p.address).CombinedOutput() // as the image's health is asked
	if err != nil || !strings.Contains(string(out), `"running"`) {
		t.Errorf("status: %v\n%s", err, out)
	}
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d\n%s", status, s.says())
	}
}
