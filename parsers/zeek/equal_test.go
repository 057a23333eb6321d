package zeek

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidewatch/event"
	"tidewatch/internal/shareddata"
	"tidewatch/parsers"
)

// columnsOf returns what an event says, in memory of its own: every field but where
// it was read and when it was written, which the two forms of a log differ in.
func columnsOf(ev *event.Event) map[string]any {
	m := map[string]any{}
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f, name := v.Field(i), prefix+v.Type().Field(i).Name
			switch x := f.Interface().(type) {
			case netip.Addr:
				m[name] = x
			case string:
				m[name] = event.Clone(x)
			case []string:
				list := []string{}
				for _, s := range x {
					list = append(list, event.Clone(s))
				}
				m[name] = list
			case []uint32:
				m[name] = append([]uint32{}, x...)
			default:
				switch f.Kind() {
				case reflect.Struct:
					walk(name+".", f)
				case reflect.Pointer:
					if !f.IsNil() {
						walk(name+".", f.Elem())
					}
				default:
					m[name] = x
				}
			}
		}
	}
	e := *ev
	e.Set.Remove(event.ColWritten)
	e.Written, e.Source, e.Offset, e.Raw, e.Extra = 0, 0, 0, nil, nil
	walk("", reflect.ValueOf(e))
	return m
}

// TestFormsAreEqual reads a log in both its forms: each record must be the same
// event, column by column.
func TestFormsAreEqual(t *testing.T) {
	f := func(name string, want int) {
		t.Run(name, func(t *testing.T) {
			tsv := logLines(readLog(t, shareddata.Path(t, "zeek/wrccdc/"+name+".log.gz")))
			js := logLines(readLog(t, shareddata.Path(t, "zeek/wrccdc/"+name+".json.gz")))
			var events []map[string]any
			if c := readAll(NewTSV(parsers.Options{}), tsv, func(ev *event.Event) { events = append(events, columnsOf(ev)) }); c.events != want || len(c.refused) > 0 {
				t.Fatalf("TSV: %+v, want %d events", c, want)
			}
			i, differ := 0, 0
			c := readAll(NewJSON(parsers.Options{}), js, func(ev *event.Event) {
				if i < len(events) && differ < 5 {
					if got := columnsOf(ev); !reflect.DeepEqual(events[i], got) {
						differ++
						t.Errorf("record %d (-TSV +JSON):\n%s", i, cmp.Diff(events[i], got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })))
					}
				}
				i++
			})
			if c.events != want || len(c.refused) > 0 {
				t.Errorf("JSON: %+v, want %d events", c, want)
			}
		})
	}
	f("dns", 53615)
	f("ssl", 49474)
}
