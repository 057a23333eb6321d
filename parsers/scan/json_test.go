package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/parsers"
)

// tree reads the object or array that s is in, in the shapes of encoding/json.
func tree(s *JSON, b *event.Batch, kind Kind) any {
	m, list := map[string]any{}, []any{}
	for s.Next() {
		key := replaceInvalid(string(s.Key()))
		v := treeValue(s, b)
		m[key] = v
		list = append(list, v)
	}
	if kind == Object {
		return m
	}
	return list
}

func treeValue(s *JSON, b *event.Batch) any {
	switch k := s.Kind(); k {
	case Object, Array:
		s.Enter()
		return tree(s, b, k)
	case String:
		return replaceInvalid(s.Text(b))
	case Number:
		return json.Number(s.Raw())
	case True, False:
		return k == True
	}
	return nil
}

// replaceInvalid does to a string what encoding/json does and the scanner does
// not: each byte that is not UTF-8 becomes U+FFFD.
func replaceInvalid(s string) string {
	return strings.Map(func(r rune) rune { return r }, s)
}

// skipped reports how a walk ends that looks at no value.
func skipped(line []byte) error {
	var s JSON
	s.Reset(line)
	for s.Next() {
	}
	return s.Err()
}

func depth(line []byte) int {
	d, deepest, inString := 0, 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			d++
			deepest = max(deepest, d)
		case c == '}' || c == ']':
			d--
		}
	}
	return deepest
}

// checkJSON compares a walk over line with encoding/json.
func checkJSON(t *testing.T, line []byte) {
	t.Helper()
	want := json.Valid(line) && bytes.HasPrefix(bytes.TrimLeft(line, " \t\r\n"), []byte("{")) && depth(line) <= MaxDepth
	b := event.NewBatch(nil, 1, 4*len(line)+64)
	_, own := b.Add(line)
	var s JSON
	s.Reset(own)
	got := tree(&s, b, Object)
	if (s.Err() == nil) != want {
		t.Fatalf("%q: walk says %v, encoding/json says %v", line, s.Err(), want)
	}
	if err := skipped(line); (err == nil) != want {
		t.Fatalf("%q: skipping says %v, encoding/json says %v", line, err, want)
	}
	checkGuide(t, line)
	checkResume(t, line)
	if !want {
		return
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var std any
	if err := d.Decode(&std); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(std, got) { // cmp.Diff takes exponential time in the depth of lists
		t.Errorf("%q: encoding/json -, scanner +:\n%s", line, cmp.Diff(std, got))
	}
	if !bytes.Equal(line, own) {
		t.Errorf("the walk changed the line %q to %q", line, own)
	}
}

var guideNames = NewNames([]string{"a", "b", "timestamp", "http_content_type", "a_name_of_more_than_24_bytes", "é"}, []string{"c", "flow_id"})

// checkGuide compares the walk of a guide with the plain one.
func checkGuide(t *testing.T, line []byte) {
	t.Helper()
	type member struct {
		key  string
		kind Kind
		raw  string
	}
	var want, got []member
	var s JSON
	for s.Reset(line); s.Next(); {
		switch key := string(s.Key()); key {
		case "a", "b", "timestamp", "http_content_type", "a_name_of_more_than_24_bytes", "é":
			want = append(want, member{key, s.Kind(), string(s.Raw())})
		}
	}
	err := s.Err()
	g := NewGuide(guideNames)
	for _, knows := range []string{"nothing", "this record"} {
		got = got[:0]
		s.Reset(line)
		for k := g.Next(&s, 0); k != End; k = g.Next(&s, k) {
			got = append(got, member{string(s.Key()), s.Kind(), string(s.Raw())})
			if text := guideNames.list[k].text; text != `"`+string(s.Key())+`":` {
				t.Errorf("%q: %s has the number of %s", line, s.Key(), text)
			}
		}
		if !slices.Equal(want, got) || s.Err() != err {
			t.Errorf("%q: walk %v, %v; with a guide that knows %s: %v, %v", line, want, err, knows, got, s.Err())
		}
	}
}

// checkResume compares walks that begin behind a member with the whole one.
func checkResume(t *testing.T, line []byte) {
	t.Helper()
	var s, rest JSON
	for s.Reset(line); s.Next(); {
		if s.Kind() == Object || s.Kind() == Array {
			s.Skip()
		}
		if s.Err() != nil {
			return
		}
		whole := s
		rest.Resume(line, s.i)
		for more := true; more; {
			more = rest.Next()
			if whole.Next() != more || more && (string(whole.Key()) != string(rest.Key()) || string(whole.Raw()) != string(rest.Raw())) {
				t.Fatalf("%q from %d: %q:%q, whole walk has %q:%q", line, s.i, rest.Key(), rest.Raw(), whole.Key(), whole.Raw())
			}
		}
		if whole.Err() != rest.Err() {
			t.Fatalf("%q from %d: %v, whole walk has %v", line, s.i, rest.Err(), whole.Err())
		}
	}
}

var jsonSeeds = []string{
	`{"timestamp":"2024-01-01T00:00:00.000000+0000","flow_id":1234567890123456,"a":true,"d":{"a":1},"c":[1],"b":{"timestamp":2},"a":-1}`,
	`{"a_name_of_more_than_24_bytes":1,"a":{},"a_name_of_more_than_24_bytes":"","a_name_of_more_than_24_bytez":1,"\u0061":2,"é":3}`,
	`{"a":1,"http_content_type":1,"b":2,"a":"x","http_content_tyre":1,"b":"24 bytes must follow a key"}`,

	`{}`, ` { } `, `[]`, ``, ` `, `null`, `"a"`, `1`, `{"a":1}`, `{"a":1}x`, `{"a":1} `, `{"a":1}}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`,
	`{"a":[]}`, `{"a":[1,2 , 3]}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":{"b":{"c":[{},[],{"d":null}]}}}`, `{"a":[}]`,
	`{"a":tru}`, `{"a":true,"b":false,"c":null}`, `{"a":nul}`, `{"a":truex}`, `{"a" : "b" , "c" : [ "d" ] }`,
	`{"a":-0}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":1.5e-7}`, `{"a":1e}`, `{"a":1e+}`, `{"a":.5}`, `{"a":+1}`, `{"a":1E400}`, `{"a":12345678901234567890}`,
	`{"a":"\n\t\r\b\f\/\\\""}`, `{"a":"\u0000\u00e9\u20ac"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`, `{"a":"\ude00\ud83d"}`, `{"a":"\ud83dx"}`,
	`{"a":"\ud83d\u0041"}`, `{"a":"\ud83d\ud83d\ude00"}`, `{"a":"\u12"}`, `{"a":"\u12G4"}`, `{"a":"\x"}`, `{"a":"\`, `{"a":"\"`, `{"a":"\\"}`,
	`{"\u0061":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\q":1}`, `{"a":"b`, `{"a":"b"`, `{"a":{"b":1}`, `{"a":"é"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}",
	"{\"a\":\"\x7f\"}", "\ufeff{}", `{"a":1,"a":2}`, `{"":""}`, `{"a":"12345678"}`, `{"a":"1234567"}`, `{"a":"123456789"}`, "{\"a\":\"1234567\x01\"}",
	"{\n\t\"a\": [\n\t\t1,\n\t\t{ \"b\" : \"c\" }\n\t]\n}\r\n", `{"a":1 ,"b":[1 ,2 ]}`, "{\"a\"\f:1}", `{'a':1}`, `{"a":NaN}`, `{"a":"\\\\\\"}`,
}

func TestJSONLikeEncodingJSON(t *testing.T) {
	for _, s := range jsonSeeds {
		checkJSON(t, []byte(s))
		for i := range s { // every prefix, every byte replaced
			checkJSON(t, []byte(s[:i]))
			for _, c := range []byte(`"\{}[]:,0-.e `) {
				m := []byte(s)
				m[i] = c
				checkJSON(t, m)
			}
		}
	}
}

func TestJSONDepth(t *testing.T) {
	for n := MaxDepth - 2; n < MaxDepth+3; n++ {
		checkJSON(t, []byte(strings.Repeat(`{"a":`, n-1)+"{}"+strings.Repeat("}", n-1)))
		checkJSON(t, []byte(`{"a":`+strings.Repeat(`[`, n-1)+strings.Repeat("]", n-1)+"}"))
	}
	if err := skipped(bytes.Repeat([]byte(`{"a":`), 1<<17)); err != parsers.ReasonBadJSON {
		t.Errorf("a bomb gives %v", err)
	}
}

func TestJSONReasons(t *testing.T) {
	f := func(line string, want error) {
		t.Helper()
		if err := skipped([]byte(line)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", line, err, want)
		}
	}
	f(`[1]`, parsers.ReasonNotObject)
	f(``, parsers.ReasonNotObject)
	f("\x00\x00", parsers.ReasonNotObject)
	f(`{"a"`, parsers.ReasonBadJSON)
	f(`{"a":1}`, nil)
}

// A caller sees what it asks for, and no more than that.
func TestJSONWalk(t *testing.T) {
	const line = `{"a":{"x":[1,{"y":2}],"z":"\/"},"b":[10,"t\u0041"],"c":3,"d":{"e":1}}`
	var got []string
	var s JSON
	b := event.NewBatch(nil, 1, 1000)
	_, own := b.Add([]byte(line))
	for s.Reset(own); s.Next(); {
		switch string(s.Key()) {
		case "a":
			got = append(got, "a="+string(s.Skip()))
		case "b":
			for s.Enter(); s.Next(); {
				got = append(got, fmt.Sprintf("b %s %v", s.Bytes(b), s.Escaped()))
			}
		case "c":
			got = append(got, "c="+string(s.Raw()))
			s.Enter() // not a container: nothing happens
		}
	}
	want := []string{`a={"x":[1,{"y":2}],"z":"\/"}`, "b 10 false", "b tA true", "c=3"}
	if diff := cmp.Diff(want, got); diff != "" || s.Err() != nil {
		t.Errorf("%v: want -, got +:\n%s", s.Err(), diff)
	}
	if s.Next() {
		t.Error("Next after the end")
	}
}

func TestPlainValues(t *testing.T) {
	f := func(text string, str, num int) {
		t.Helper()
		if got := PlainString([]byte(text), 1); got != str {
			t.Errorf("PlainString(%q) = %d, want %d", text, got, str)
		}
		if got := PlainNumber([]byte(text), 1); got != num {
			t.Errorf("PlainNumber(%q) = %d, want %d", text, got, num)
		}
	}
	f(`:`, -1, -1)
	f(`:"`, 1, -1)
	f(`:x`, -1, -1)
	f(`"abc",`, 4, -1)
	f(`"abcdefgh"`, 9, -1)
	f(`"abcdefghijklmnopé"}`, 19, -1)
	f(`"abcdefghijklm\n",`, -1, -1)
	f("\"abcdefghij\x1f\",", -1, -1)
	f("\"abc\x00\",", -1, -1)
	f(`"abc\"`, -1, -1)
	f(`:0,`, -1, 2)
	f(`:0}`, -1, 2)
	f(`:01,`, -1, -1)
	f(`:1`, -1, -1)
	f(`:12 ,`, -1, -1)
	f(`:-1,`, -1, -1)
	f(`:1.5,`, -1, -1)
	f(`:1]`, -1, -1)
	f(`:12345678}`, -1, 9)
	f(`:12345678901234567,`, -1, 18)
}

func TestJSONAllocates(t *testing.T) {
	line := []byte(`{"timestamp":"2024-01-01T00:00:00.000000+0000","a":{"b":[1,2,{"c":"d\/e"}]},"\u0061":1e5,"n":null}`)
	b := event.NewBatch(nil, 1, 10000)
	_, own := b.Add(line)
	var s JSON
	n := testing.AllocsPerRun(100, func() {
		for s.Reset(own); s.Next(); {
			if s.Kind() == Object {
				for s.Enter(); s.Next(); {
				}
			}
		}
	})
	if n != 0 || s.Err() != nil {
		t.Errorf("%v allocations, error %v", n, s.Err())
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) { checkJSON(t, line) })
}
