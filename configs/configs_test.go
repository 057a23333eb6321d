package configs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidewatch/enrich"
	"tidewatch/internal/strict"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Secrets are compared as what they are; one that is written as "" is none.
var secrets = cmp.Comparer(func(a, b strict.Secret) bool { return a.Reveal() == b.Reveal() })

var prefixes = cmp.Comparer(func(a, b strict.Network) bool { return a == b })

// The commented file is what holds without one.
func TestFileIsDefaults(t *testing.T) {
	got := Default()
	if bad := strict.Decode(strict.NewDocument("tidewatch.toml", read(t, "tidewatch.toml")), got); bad != nil {
		t.Fatal(strict.Join(bad))
	}
	if d := cmp.Diff(Default(), got, prefixes, secrets); d != "" {
		t.Errorf("tidewatch.toml differs from the defaults (-default +file):\n%s", d)
	}
}

// commented is a key that is shown in a comment.
var commented = regexp.MustCompile(`(?m)^# (\[[a-z.]+\]|[a-z_]+ = .*)$`)

// Each key stands in the file with its default, and with a comment above it; so do
// those of tables whose names the file chooses.
func TestFileHasEveryKey(t *testing.T) {
	t.Setenv("TIDEWATCH_WEBHOOK_URL", "https://hooks.example/x")
	text := read(t, "tidewatch.toml")
	var c Config
	shown := commented.ReplaceAllString(text, "$1")
	if bad := strict.Decode(strict.NewDocument("tidewatch.toml", shown), &c); len(bad) != 4 || !strings.Contains(strict.Join(bad).Error(), "no column holds the indicators") || !strings.Contains(strict.Join(bad).Error(), "a Redis server beside") || !strings.Contains(strict.Join(bad).Error(), "a list or stream without a name") {
		t.Fatalf("the file without its comment signs: %v", strict.Join(bad))
	}
	var in Input
	in.SetDefaults()
	in.Paths, in.Archives, in.Redis = []string{}, []string{}, &RedisInput{}
	in.Redis.SetDefaults()
	in.Redis.Keys = []string{}
	if d := cmp.Diff(map[string]Input{"zeek": in}, c.Inputs, secrets); d != "" {
		t.Errorf("[input.zeek] (-default +file):\n%s", d)
	}
	var feed enrich.Feed
	feed.SetDefaults()
	if d := cmp.Diff(map[string]enrich.Feed{"partner": feed}, c.Enrich.Feeds); d != "" {
		t.Errorf("[enrich.feed.partner] (-default +file):\n%s", d)
	}
	var es Elasticsearch
	es.SetDefaults()
	es.Records = []string{}
	if d := cmp.Diff(&es, c.Output.Elasticsearch, secrets); d != "" {
		t.Errorf("[output.elasticsearch] (-default +file):\n%s", d)
	}
	var wh Webhook
	wh.SetDefaults()
	wh.URL = strict.NewSecret("https://hooks.example/x")
	if d := cmp.Diff(&wh, c.Output.Webhook, secrets); d != "" {
		t.Errorf("[output.webhook] (-default +file):\n%s", d)
	}
	var sl Syslog
	sl.SetDefaults()
	sl.Address = "siem.example:6514"
	if d := cmp.Diff(&sl, c.Output.Syslog); d != "" {
		t.Errorf("[output.syslog] (-default +file):\n%s", d)
	}
	lines := strings.Split(text, "\n")
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		table, name := key[:strings.LastIndexByte(key, '.')], key[strings.LastIndexByte(key, '.')+1:]
		at, inside := -1, false
		for i, l := range lines {
			l = strings.TrimPrefix(l, "# ")
			if strings.HasPrefix(l, "[") && strings.HasSuffix(l, "]") {
				inside = l == "["+table+"]"
			}
			if inside && strings.HasPrefix(l, name+" = ") {
				at = i
			}
		}
		if at < 0 {
			t.Errorf("%s is not in tidewatch.toml", key)
		} else if above := lines[at-1]; !strings.HasPrefix(above, "# ") || commented.MatchString(above) {
			t.Errorf("%s has no comment above it", key)
		}
	}
}

// keysOf lists the keys of a section; the tables of a map are called zeek.
func keysOf(t reflect.Type, table string) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous {
			keys = append(keys, keysOf(f.Type, table)...)
			continue
		}
		if key == "" || key == "-" {
			continue
		}
		path := strings.TrimPrefix(table+"."+key, ".")
		ft := f.Type
		if ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct {
			path, ft = path+map[string]string{"input": ".zeek", "enrich.feed": ".partner"}[path], ft.Elem()
		}
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft.PkgPath() != "tidewatch/internal/strict" {
			keys = append(keys, keysOf(ft, path)...)
		} else {
			keys = append(keys, path)
		}
	}
	return keys
}

// The examples are sound.
func TestExamples(t *testing.T) {
	all, err := filepath.Glob("*/*.toml")
	all = slices.DeleteFunc(all, func(path string) bool { return strings.HasPrefix(path, "testdata") })
	if err != nil || len(all) < 3 {
		t.Fatal(all, err)
	}
	t.Setenv("TIDEWATCH_ELASTIC_API_KEY", "key")
	t.Setenv("TIDEWATCH_REDIS_PASSWORD", "password")
	for _, path := range all {
		if _, bad := Parse(path, read(t, path)); len(bad) != 0 {
			t.Errorf("%v", strict.Join(bad))
		}
	}
}

// What is wrong in testdata/NAME.toml is in testdata/NAME.txt: everything at once,
// with its place and what is allowed.
func TestProblems(t *testing.T) {
	all, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(all) < 4 {
		t.Fatal(all, err)
	}
	for _, path := range all {
		_, bad := Parse(filepath.Base(path), read(t, path))
		got := fmt.Sprintln(strict.Join(bad))
		golden := strings.TrimSuffix(path, ".toml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(read(t, golden), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tidewatch.toml")
	text := "[general]\nepoch = \"5s\"\n[input.eve]\npaths = [\"/var/log/suricata/eve.json\"]\n[output.ndjson]\npath = \"-\"\n[http]\naddress = \"0.0.0.0:9465\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.General.Epoch != 5*time.Second || c.Inputs["eve"].StartAt != "end" || c.Store.Type != "disk" {
		t.Errorf("%+v", c)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "others can read the metrics") {
		t.Errorf("%q", warnings)
	}
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, _, err := Load(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

// FuzzParse feeds texts that may be a configuration: nothing may panic, and each
// problem has something to say.
func FuzzParse(f *testing.F) {
	all, _ := filepath.Glob("testdata/*.toml")
	for _, path := range append(all, "tidewatch.toml") {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, bad := Parse("a.toml", text)
		for _, p := range bad {
			if p.What == "" || p.Line < 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}
