package rules

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidewatch/behavior/watch"
	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/rules/condition"
)

// watchKinds are the detectors that look at records the way a rule says, by name.
var watchKinds = func() map[string]watch.Kind {
	m := map[string]watch.Kind{}
	for k := range watch.NumKinds {
		m[k.String()] = k
	}
	return m
}()

// recordTable holds what conditions on records can name.
var recordTable = func() condition.Table[event.Event] {
	t := condition.Table[event.Event]{}
	for name, f := range recordFields {
		t[name] = f.Field
	}
	return t
}()

// recordNamesSorted are the names of all fields of records.
var recordNamesSorted = slices.Sorted(maps.Keys(recordFields))

// compileWatch reads a rule over records.
func (l *loader) compileWatch(rule *rule, r *reader) {
	s := watch.Spec{ID: rule.info.ID, Name: rule.info.Name, Kind: watchKinds[rule.detector]}
	names := newNames()
	except := l.recordExceptions(r, names)
	if s.Kind != watch.Sequence {
		if text := r.text("when"); text == "" {
			r.bad("when", "the rule has no condition", `an expression over records such as 'record.kind == "ssh" and ssh.auth.failed'`)
		} else {
			s.Filter = l.filter(rule, r.place("when"), text, names, except)
		}
	}
	w := watchReader{loader: l, rule: rule, spec: &s, names: names, except: except}
	if t := r.table(rule.detector); t != nil {
		w.read(t)
		t.done()
	} else if s.Kind != watch.Event && s.Kind != watch.Indicator {
		r.bad(rule.detector, fmt.Sprintf("the rule says nothing of its %s", rule.detector), fmt.Sprintf("[rule.%s.%s] with %s", rule.info.ID, rule.detector, strings.Join(watchKeys[s.Kind], ", ")))
	}
	readSuppress(rule, r)
	checkTemplate(rule, r)
	names.addAll(rule.suppressBy)
	for _, m := range placeholder.FindAllStringSubmatch(rule.info.Investigate, -1) {
		names.add(m[1])
	}
	if slices.ContainsFunc(names.all, func(n string) bool { return strings.HasPrefix(n, "session.tls.") }) {
		l.set.config.Handshakes = true
	}
	s.Fields = names.fields()
	s.Snapshots = names.has("record.snapshot")
	s.Version = specVersion(rule.detector, r)
	l.set.config.Watch.Specs = append(l.set.config.Watch.Specs, s)
}

// specVersion hashes what decides about a rule's state: another condition, another
// window, and it begins anew.
func specVersion(detector string, r *reader) uint64 {
	var b strings.Builder
	for _, key := range []string{"when", detector, "exceptions"} {
		for _, layer := range r.layers {
			fmt.Fprintf(&b, "%s=%v\n", key, layer.table[key]) // fmt prints maps in the order of their keys
		}
	}
	sum := digest(r.layers[0].path[len(r.layers[0].path)-1], detector, b.String())
	return binary.BigEndian.Uint64(sum[:])
}

// namedFields collects which fields of a record a finding has to show.
type namedFields struct{ all []string }

func newNames() *namedFields { return &namedFields{} }

func (n *namedFields) add(name string) {
	if _, ok := recordFields[name]; ok && !n.has(name) {
		n.all = append(n.all, name)
	}
}

func (n *namedFields) addAll(names []string) {
	for _, s := range names {
		n.add(s)
	}
}

func (n *namedFields) has(name string) bool { return slices.Contains(n.all, name) }

// fields returns the function that copies them from a record.
func (n *namedFields) fields() func(*event.Event) []event.Field {
	names := slices.Clone(n.all)
	return func(ev *event.Event) []event.Field {
		all := make([]event.Field, 0, len(names))
		for _, name := range names {
			all = append(all, event.Field{Name: name, Value: event.Clone(valueText(recordFields[name].Field, ev))})
		}
		return all
	}
}

// valueText writes a field of a record the way people read it; "" if it is unset.
func valueText(f condition.Field[event.Event], ev *event.Event) string {
	switch f.Kind {
	case condition.Text:
		return f.Text(ev)
	case condition.Number:
		return strconv.FormatFloat(f.Number(ev), 'f', -1, 64)
	case condition.Truth:
		return strconv.FormatBool(f.Truth(ev))
	case condition.List:
		return strings.Join(f.List(ev), ", ")
	case condition.Address:
		if a := f.Address(ev); a.IsValid() {
			return a.String()
		}
	}
	return ""
}

// recordExceptions compiles the exceptions, which are conditions on records here.
func (l *loader) recordExceptions(r *reader, names *namedFields) (all []condition.Condition[event.Event]) {
	e := r.table("exceptions")
	if e == nil {
		return nil
	}
	for _, name := range e.keys() {
		if s := e.text(name); s != "" {
			all = append(all, l.onRecords(e.place(name), s))
		}
	}
	return all
}

func (l *loader) onRecords(at value, source string) condition.Condition[event.Event] {
	return compiled(l, at, source, recordTable, func(wrong string) ([]string, string) {
		return recordNamesSorted, listNames(recordNamesSorted, wrong)
	})
}

// filter compiles a condition on records, and finds out which kinds it can hold for.
func (l *loader) filter(rule *rule, at value, source string, names *namedFields, except []condition.Condition[event.Event]) watch.Filter {
	c := l.onRecords(at, source)
	f := watch.Filter{Kinds: uint32(allKinds), Text: source, Terms: l.shared(c)}
	if len(except) > 0 {
		f.Except = func(ev *event.Event) bool {
			return slices.ContainsFunc(except, func(e condition.Condition[event.Event]) bool { return e.Matches(ev) })
		}
	}
	for _, t := range c.Terms() {
		names.addAll(t.Fields)
		f.Kinds &= uint32(kindsOfTerm(t))
		if ports := portsOfTerm(t); ports != nil && (f.Ports == nil || len(ports) < len(f.Ports)) {
			f.Ports = ports
		}
	}
	if f.Kinds == 0 && len(c.Terms()) > 0 {
		l.problems = append(l.problems, at.doc.Problem(at.path(), "this can never hold: no kind of record has all that it names", ""))
	}
	rule.onRecords, rule.kinds = append(rule.onRecords, c), append(rule.kinds, kinds(f.Kinds))
	return f
}

// shared returns the terms of a condition, each the same for all rules that ask it, but
// for those that name the kind alone: they hold for the kinds of its Filter.
func (l *loader) shared(c condition.Condition[event.Event]) (all []*watch.Term) {
	if len(c.Terms()) == 0 {
		return []*watch.Term{{Holds: c.Matches}}
	}
	for _, t := range c.Terms() {
		if namesAlone(t, "record.kind") {
			continue
		}
		if l.terms[t.Source] == nil {
			l.terms[t.Source] = &watch.Term{Holds: t.Holds}
		}
		all = append(all, l.terms[t.Source])
	}
	return all
}

// namesAlone reports whether a term names one field and no other.
func namesAlone(t condition.Term[event.Event], field string) bool {
	return len(t.Fields) > 0 && !slices.ContainsFunc(t.Fields, func(s string) bool { return s != field })
}

// portsOfTerm returns the responder's ports for which a term holds that names nothing
// else, if they are few; nil if the term says nothing of ports.
func portsOfTerm(t condition.Term[event.Event]) (ports []uint16) {
	if !namesAlone(t, "destination.port") {
		return nil
	}
	ports = []uint16{}
	var ev event.Event
	for p := range 1 << 16 {
		if ev.Resp.Port = uint16(p); t.Holds(&ev) {
			ports = append(ports, uint16(p))
		}
	}
	if len(ports) > 4096 {
		return nil
	}
	return ports
}

// kindsOfTerm returns the kinds of records for which a term can hold. A term that
// names nothing but the kind is tried. One that does not hold of a record without any
// columns, and whose fields all belong to the same columns, needs them.
func kindsOfTerm(t condition.Term[event.Event]) kinds {
	if len(t.Fields) == 0 {
		return allKinds
	}
	var one, carry kinds = 0, allKinds
	same := true
	for i, name := range t.Fields {
		f := recordFields[name]
		same = same && (i == 0 || f.kinds == carry)
		carry = f.kinds
	}
	if namesAlone(t, "record.kind") {
		for k := event.Kind(0); int(k) < event.NumKinds; k++ {
			if t.Holds(&event.Event{Kind: k}) {
				one |= 1 << k
			}
		}
		return one
	}
	if same && !t.Holds(&event.Event{}) {
		return carry
	}
	return allKinds
}

// watchKeys are the keys of each kind's own table.
var watchKeys = [watch.NumKinds][]string{
	watch.Threshold: {"by", "at_least", "within", "distinct", "sum"},
	watch.Sequence:  {"by", "steps", "within", "unless"},
	watch.FirstSeen: {"by", "value", "learn"},
	watch.Rarity:    {"value", "at_most_hosts", "of_hosts", "learn"},
	watch.Baseline:  {"by", "each", "at_least", "sigmas", "learn", "distinct", "sum"},
}

// watchReader reads the table of one rule's kind.
type watchReader struct {
	*loader
	rule   *rule
	spec   *watch.Spec
	names  *namedFields
	except []condition.Condition[event.Event]
	table  *reader
}

func (w *watchReader) read(t *reader) {
	w.table = t
	switch w.spec.Kind {
	case watch.Event, watch.Indicator:
	case watch.Threshold:
		w.by()
		w.counted()
		w.spec.Within = w.span("within", time.Second, 7*24*time.Hour, 0)
		w.amount()
	case watch.Sequence:
		w.by()
		w.steps()
		w.spec.Within = w.span("within", time.Second, 7*24*time.Hour, 0)
	case watch.FirstSeen:
		w.by()
		w.spec.Value = w.key("value", true)
		w.spec.Learn = w.span("learn", time.Hour, 90*24*time.Hour, 7*24*time.Hour)
	case watch.Rarity:
		w.spec.Value = w.key("value", true)
		w.spec.AtMost = w.whole("at_most_hosts", 1, 50, 1)
		w.spec.OutOf = w.whole("of_hosts", 2, 1_000_000, 20)
		w.spec.Learn = w.span("learn", time.Hour, 90*24*time.Hour, 24*time.Hour)
	case watch.Baseline:
		w.by()
		w.counted()
		w.spec.Within = w.span("each", time.Minute, 24*time.Hour, time.Hour)
		w.amount()
		w.spec.Sigmas = 4
		t.number("sigmas", "a number from 2 to 100", func(at value, v float64) {
			if w.spec.Sigmas = v; v < 2 || v > 100 {
				t.report(at, fmt.Sprintf("sigmas = %v", v), "a number from 2 to 100")
			}
		})
		w.spec.Learn = w.span("learn", time.Hour, 90*24*time.Hour, 3*24*time.Hour)
	}
}

// by reads whose case a record is.
func (w *watchReader) by() {
	w.table.texts("by", func(at value, name string) {
		if k, ok := w.keyOf(at, name); ok {
			w.spec.By = append(w.spec.By, k)
			w.names.add(name)
		}
	})
	if at := w.table.place("by"); at.layer.table["by"] == nil {
		w.table.bad("by", fmt.Sprintf("the %s does not say whose it is", w.rule.detector), `fields, such as ["source.ip"] or ["source.ip", "destination.ip"]; [] for all records together`)
	}
	if len(w.spec.By) > 8 {
		w.table.bad("by", "more than eight fields", "up to eight")
	}
}

// keyOf returns the field of this name as a key.
func (w *watchReader) keyOf(at value, name string) (watch.Key, bool) {
	f, ok := recordFields[name]
	if !ok {
		w.table.report(at, fmt.Sprintf("unknown field %q%s", name, strict.Nearest(name, recordNamesSorted)), listNames(recordNamesSorted, name))
		return watch.Key{}, false
	}
	k := watch.Key{Name: name}
	switch {
	case name == "source.ip":
		k.End = watch.Originator
	case name == "destination.ip":
		k.End = watch.Responder
	}
	switch f.Kind {
	case condition.Text:
		k.Append = func(dst []byte, ev *event.Event) []byte { return append(dst, f.Text(ev)...) }
	case condition.Number:
		k.Append = func(dst []byte, ev *event.Event) []byte { return strconv.AppendFloat(dst, f.Number(ev), 'g', -1, 64) }
	case condition.Truth:
		k.Append = func(dst []byte, ev *event.Event) []byte { return strconv.AppendBool(dst, f.Truth(ev)) }
	case condition.Address:
		k.Append = appendAddress(f.Address)
	default:
		w.table.report(at, fmt.Sprintf("%s is a list", name), "a field with one value")
		return watch.Key{}, false
	}
	return k, true
}

func appendAddress(of func(*event.Event) netip.Addr) func([]byte, *event.Event) []byte {
	return func(dst []byte, ev *event.Event) []byte {
		if a := of(ev); a.IsValid() {
			return a.AppendTo(dst)
		}
		return dst
	}
}

// key reads one field.
func (w *watchReader) key(name string, needed bool) (k *watch.Key) {
	read(w.table, name, "the name of a field, in quotes", func(at value, s string) {
		if key, ok := w.keyOf(at, s); ok {
			w.names.add(s)
			k = &key
		}
	})
	if at := w.table.place(name); needed && at.layer.table[name] == nil {
		w.table.bad(name, fmt.Sprintf("the %s has no %s", w.rule.detector, name), `the name of a field, such as "tls.client.ja4"`)
	}
	return k
}

// counted reads what is counted: records, distinct values, or a sum.
func (w *watchReader) counted() {
	w.spec.Value = w.key("distinct", false)
	read(w.table, "sum", "the name of a field that is a number", func(at value, s string) {
		f, ok := recordFields[s]
		switch {
		case !ok:
			w.table.report(at, fmt.Sprintf("unknown field %q%s", s, strict.Nearest(s, recordNamesSorted)), listNames(recordNamesSorted, s))
		case f.Kind != condition.Number:
			w.table.report(at, fmt.Sprintf("%s is %s", s, f.Kind), "a field that is a number")
		case w.spec.Value != nil:
			w.table.report(at, "distinct and sum together", "one of both")
		default:
			w.spec.Sum, w.spec.SumName = summed(f.Field)
			w.spec.SumName, w.spec.SumUnit = s, w.spec.SumName
		}
	})
}

// summed returns a field as what is summed up, and its unit.
func summed(f condition.Field[event.Event]) (func(*event.Event) float64, string) {
	switch f.Unit {
	case condition.Bytes:
		return f.Number, "bytes"
	case condition.Seconds:
		return f.Number, "seconds"
	case condition.Nanoseconds:
		return func(ev *event.Event) float64 { return f.Number(ev) / 1e9 }, "seconds"
	}
	return f.Number, ""
}

// amount reads at_least, a number or a quantity with its unit.
func (w *watchReader) amount() {
	const allowed = `a whole number from 1 to 10000; of a sum, a number or a quantity such as "50MB"`
	v, ok := w.table.take("at_least")
	if !ok {
		w.table.bad("at_least", fmt.Sprintf("the %s has no at_least", w.rule.detector), allowed)
		return
	}
	unit := condition.NoUnit
	switch x := v.any.(type) {
	case int64:
		w.spec.AtLeast = float64(x)
	case float64:
		w.spec.AtLeast = x
	case string:
		if w.spec.AtLeast, unit, ok = condition.Quantity(x); !ok {
			w.table.report(v, fmt.Sprintf("at_least = %q", x), allowed)
			return
		}
	default:
		w.table.wrongType(v, allowed)
		return
	}
	of := map[string]condition.Unit{"bytes": condition.Bytes, "seconds": condition.Seconds}[w.spec.SumUnit]
	whole := w.spec.AtLeast == float64(int64(w.spec.AtLeast)) && w.spec.AtLeast <= 10_000
	if w.spec.AtLeast <= 0 || unit != condition.NoUnit && unit != of || w.spec.Sum == nil && !whole {
		w.table.report(v, fmt.Sprintf("at_least = %v", v.any), allowed)
	}
}

// span reads a duration; missing is what it is without the key, 0 if it must be there.
func (w *watchReader) span(key string, low, high, missing time.Duration) time.Duration {
	d := missing
	w.table.duration(key, func(at value, v time.Duration) {
		if d = v; v < low || v > high {
			w.table.report(at, fmt.Sprintf("%s = %q", key, at.any), fmt.Sprintf("a duration from %s to %s", brief(low), brief(high)))
		}
	})
	if at := w.table.place(key); missing == 0 && at.layer.table[key] == nil {
		w.table.bad(key, fmt.Sprintf("the %s has no %s", w.rule.detector, key), fmt.Sprintf("a duration from %s to %s, such as \"10m\"", brief(low), brief(high)))
	}
	return d
}

// whole reads a whole number.
func (w *watchReader) whole(key string, low, high, missing int64) int {
	n := missing
	allowed := fmt.Sprintf("a whole number from %d to %d", low, high)
	read(w.table, key, allowed, func(at value, v int64) {
		if n = v; v < low || v > high {
			w.table.report(at, fmt.Sprintf("%s = %d", key, v), allowed)
		}
	})
	return int(n)
}

// steps reads the conditions of a sequence.
func (w *watchReader) steps() {
	n := 0
	w.table.texts("steps", func(at value, s string) {
		n++
		w.spec.Steps = append(w.spec.Steps, w.filter(w.rule, at, s, w.names, w.except))
	})
	if n < 2 || n > 8 {
		w.table.bad("steps", fmt.Sprintf("a sequence of %d steps", n), "two to eight conditions, such as ['record.kind == \"ssh\" and ssh.auth.failed', 'record.kind == \"ssh\" and ssh.auth.success']")
	}
	if s := w.table.text("unless"); s != "" {
		f := w.filter(w.rule, w.table.place("unless"), s, w.names, nil)
		w.spec.Unless = &f
	}
}
