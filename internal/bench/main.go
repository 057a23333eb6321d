// Command bench measures the whole program: it lets the generator write a day,
// runs tidewatch on it as a person would, and prints what the operating system
// says that cost. With -peers it does the same with other programs.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	events := flag.Int("events", 1_000_000, "records of a day")
	runs := flag.Int("runs", 3, "runs of each program; the median is printed")
	peers := flag.Bool("peers", false, "compare with other programs that read EVE")
	flag.Parse()
	if err := bench(*events, *runs, *peers); err != nil {
		log.Fatal("bench: ", err)
	}
}

func bench(events, runs int, peers bool) error {
	dir, err := os.MkdirTemp("", "tidewatch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "tidewatch")
	if err := quiet(exec.Command("go", "build", "-o", program, "./cmd/tidewatch")); err != nil {
		return err
	}
	if peers {
		return comparePeers(dir, program, events, runs)
	}
	scans, err := scansOnly(dir)
	if err != nil {
		return err
	}
	fmt.Printf("tidewatch analyze -o json, Zeek TSV (conn, dns, ssl), 200 hosts\n")
	fmt.Printf("%-10s %6s %10s %12s %14s %12s %10s\n", "detections", "days", "records", "CPU seconds", "records/CPU s", "wall s", "peak MiB")
	for _, days := range []int{1, 2, 4, 8} { // the peak must not grow with them
		day := filepath.Join(dir, strconv.Itoa(days))
		if err := write(day, days, days*events, "zeek"); err != nil {
			return err
		}
		for _, d := range []struct {
			name string
			args []string
		}{{"all", nil}, {"scans", scans}} {
			c, err := median(runs, func() (cost, error) { return analyze(program, day, d.args...) })
			if err != nil {
				return err
			}
			fmt.Printf("%-10s %6d %10d %12.2f %14.0f %12.2f %10.0f\n", d.name, days, c.records, c.cpu, float64(c.records)/c.cpu, c.wall, c.peak)
		}
		if err := os.RemoveAll(day); err != nil {
			return err
		}
	}
	return nil
}

// shipped matches the shipped rules with their detectors.
var shipped = regexp.MustCompile(`(?ms)^\[rule\.([a-z0-9-]+)\]$.*?^detector\s*= "([a-z_]+)"`)

// scansOnly writes rules that leave no detector but that of scans anything to do, and
// returns the arguments that name them.
func scansOnly(dir string) ([]string, error) {
	files, err := filepath.Glob("rules/builtin/*.toml")
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, errors.New("there are no shipped rules"))
	}
	text := ""
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range shipped.FindAllSubmatch(b, -1) {
			if string(m[2]) != "scan" {
				text += "[rule." + string(m[1]) + "]\nenabled = false\n"
			}
		}
	}
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		return nil, err
	}
	return []string{"--rules", rules}, os.WriteFile(filepath.Join(rules, "off.toml"), []byte(text), 0o644)
}

// cost is what one run of a program took.
type cost struct {
	records   int
	cpu, wall float64 // seconds
	peak      float64 // MiB of resident memory
}

// median runs f and returns the run with the median CPU time.
func median(runs int, f func() (cost, error)) (cost, error) {
	var all []cost
	for range runs {
		c, err := f()
		if err != nil {
			return c, err
		}
		at := len(all)
		for at > 0 && all[at-1].cpu > c.cpu {
			at--
		}
		all = append(all[:at], append([]cost{c}, all[at:]...)...)
	}
	return all[len(all)/2], nil
}

// write lets the generator write days of n records in all.
func write(dir string, days, n int, format string) error {
	defer syscall.Sync() // or the disk is written to while programs are measured
	return quiet(exec.Command("go", "run", "./internal/synth/synthday", "-out", dir, "-seed", "1", "-hosts", "200",
		"-days", strconv.Itoa(days), "-events", strconv.Itoa(n), "-attacks", "grid", "-format", format, "-logs", "conn,dns,ssl"))
}

// quiet runs c and returns what it said if it fails.
func quiet(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
	}
	return nil
}

// analyze runs tidewatch on a folder, findings to a file.
func analyze(program, dir string, args ...string) (cost, error) {
	out, err := os.Create(filepath.Join(filepath.Dir(program), "findings.ndjson"))
	if err != nil {
		return cost{}, err
	}
	defer out.Close()
	var stderr bytes.Buffer
	c := exec.Command(program, append([]string{"analyze", "-o", "json", dir}, args...)...)
	c.Stdout, c.Stderr = out, &stderr
	began := time.Now()
	if err := c.Run(); err != nil {
		return cost{}, fmt.Errorf("analyze: %w\n%s", err, stderr.Bytes())
	}
	res := usage(c.ProcessState, time.Since(began))
	res.records, err = countRecords(dir)
	return res, err
}

func usage(s *os.ProcessState, wall time.Duration) cost {
	c := cost{cpu: (s.UserTime() + s.SystemTime()).Seconds(), wall: wall.Seconds()}
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok {
		c.peak = float64(ru.Maxrss) / 1024 // KiB on Linux
	}
	return c
}

// countRecords counts the lines that are records. It reads in pieces: what this
// process holds at its peak would count for its children too.
func countRecords(dir string) (n int, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !(strings.HasSuffix(path, ".log") || strings.HasSuffix(path, "eve.json")) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 1<<20) // longer than any line
		for {
			line, err := r.ReadSlice('\n')
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if line[0] != '#' {
				n++
			}
		}
	})
	return n, err
}

// comparePeers measures tidewatch and fever on one EVE file.
func comparePeers(dir, program string, events, runs int) error {
	fever, err := exec.LookPath("fever")
	if err != nil {
		fmt.Println("SKIPPED: fever is not installed (Debian package fever)")
		return nil
	}
	day := filepath.Join(dir, "eve")
	if err := write(day, 1, events, "eve"); err != nil {
		return err
	}
	eve, err := filepath.Glob(filepath.Join(day, "eve.json"))
	if err != nil || len(eve) != 1 {
		return errors.Join(err, fmt.Errorf("the generator wrote %d files eve.json", len(eve)))
	}
	scans, err := scansOnly(dir)
	if err != nil {
		return err
	}
	fmt.Printf("one EVE file, against fever run (socket input, forwarding off)\n")
	fmt.Printf("%-24s %10s %12s %14s %10s %12s\n", "program", "records", "CPU seconds", "records/CPU s", "peak MiB", "of fever's")
	ours, err := median(runs, func() (cost, error) { return analyze(program, day) })
	if err != nil {
		return err
	}
	oursScans, err := median(runs, func() (cost, error) { return analyze(program, day, scans...) })
	if err != nil {
		return err
	}
	theirs, err := median(runs, func() (cost, error) { return runFever(fever, dir, eve[0]) })
	if err != nil {
		return err
	}
	theirs.records = ours.records
	for _, r := range []struct {
		name string
		cost
	}{{"tidewatch, all detections", ours}, {"tidewatch, scans", oursScans}, {"fever", theirs}} {
		fmt.Printf("%-24s %10d %12.2f %14.0f %10.0f %12.1f\n", r.name, r.records, r.cpu, float64(r.records)/r.cpu, r.peak, theirs.cpu/r.cpu)
	}
	return nil
}

// runFever feeds a file to fever's socket and ends it when it has done its work:
// when it has taken the whole file and uses no more processor time.
func runFever(fever, dir, eve string) (cost, error) {
	sock := filepath.Join(dir, "fever.sock")
	os.Remove(sock)
	var said bytes.Buffer
	c := exec.Command(fever, "run", "-i", sock, "-o", "", "--dummy", "--in-buffer-drop=false",
		"--mgmt-socket", filepath.Join(dir, "fever-mgmt.sock"))
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		return cost{}, err
	}
	began := time.Now()
	err := feed(sock, eve)
	if err == nil {
		err = untilIdle(c.Process.Pid)
	}
	wall := time.Since(began)
	c.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { c.Process.Kill() })
	defer kill.Stop()
	c.Wait() // it ends by a signal: its status says nothing
	if err != nil {
		return cost{}, fmt.Errorf("fever: %w\n%s", err, said.Bytes())
	}
	return usage(c.ProcessState, wall), nil
}

func feed(sock, eve string) error {
	f, err := os.Open(eve)
	if err != nil {
		return err
	}
	defer f.Close()
	var conn net.Conn
	for range 100 {
		if conn, err = net.Dial("unix", sock); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(conn, f)
	return errors.Join(err, conn.Close())
}

// untilIdle waits until a process has used next to no processor time for a second.
func untilIdle(pid int) error {
	last, quiet := int64(-1), 0
	for range 600 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return err
		}
		// After the name in parentheses, utime and stime are the 12th and 13th field.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		u, _ := strconv.ParseInt(f[11], 10, 64)
		s, _ := strconv.ParseInt(f[12], 10, 64)
		if u+s-last <= 1 {
			quiet++
		} else {
			quiet = 0
		}
		if last = u + s; quiet == 4 {
			return nil
		}
		time.Sleep(250 * time.Millisecond)
	}
	return errors.New("it did not come to rest")
}
