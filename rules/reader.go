package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidewatch/internal/strict"
)

// layer is one table as one file writes it.
type layer struct {
	doc   *document
	path  []string
	table map[string]any
}

// reader reads the keys of a table that several files may write: of each key the
// last layer's value counts. It reports what is not as it must be, and asks for
// nothing twice: the keys that it is asked for are the ones that are known.
type reader struct {
	layers   []layer
	problems *[]*strict.Problem
	known    []string
	wrong    []string // keys whose type was reported
}

// value is what a key holds, and where.
type value struct {
	layer
	key string
	any
}

func (v *value) path() []string { return append(slices.Clip(v.layer.path), v.key) }

// take returns the value of a key.
func (r *reader) take(key string) (v value, ok bool) {
	r.known = append(r.known, key)
	for _, l := range slices.Backward(r.layers) {
		if x, ok := l.table[key]; ok {
			return value{l, key, x}, true
		}
	}
	return value{}, false
}

// place returns where a key is written, or else where the table is.
func (r *reader) place(key string) value {
	for _, l := range slices.Backward(r.layers) {
		if _, ok := l.table[key]; ok {
			return value{l, key, nil}
		}
	}
	return value{r.layers[len(r.layers)-1], key, nil}
}

// bad reports a problem with a key, unless its type was reported.
func (r *reader) bad(key, what, allowed string) {
	if !slices.Contains(r.wrong, key) {
		r.report(r.place(key), what, allowed)
	}
}

// wrongType reports that a key does not hold what it should.
func (r *reader) wrongType(v value, allowed string) {
	r.wrong = append(r.wrong, v.key)
	r.report(v, fmt.Sprintf("%s is %s", v.key, strict.KindOf(v.any)), allowed)
}

func (r *reader) report(v value, what, allowed string) {
	*r.problems = append(*r.problems, v.doc.Problem(v.path(), what, allowed))
}

// read gives the value of a key to set if it has type T.
func read[T any](r *reader, key, allowed string, set func(value, T)) {
	v, ok := r.take(key)
	if !ok {
		return
	}
	t, ok := v.any.(T)
	if !ok {
		r.wrongType(v, allowed)
		return
	}
	set(v, t)
}

// text reads a text.
func (r *reader) text(key string) (s string) {
	read(r, key, "a text in quotes", func(_ value, t string) { s = t })
	return s
}

// truth reads true or false, and returns missing if the key is not there.
func (r *reader) truth(key string, missing bool) bool {
	read(r, key, "true, false (without quotes)", func(_ value, t bool) { missing = t })
	return missing
}

// texts reads a list of texts, and calls check for each with its place.
func (r *reader) texts(key string, check func(at value, s string)) (all []string) {
	read(r, key, `a list of texts, such as ["a", "b"]`, func(v value, list []any) {
		for i, x := range list {
			at := value{layer{v.doc, v.path(), nil}, fmt.Sprint(i), x}
			s, ok := x.(string)
			if !ok {
				r.report(at, fmt.Sprintf("%s holds %s", key, strict.KindOf(x)), "texts in quotes")
				continue
			}
			if check != nil {
				check(at, s)
			}
			all = append(all, s)
		}
	})
	return all
}

// number reads a number that may be whole.
func (r *reader) number(key, allowed string, set func(value, float64)) {
	v, ok := r.take(key)
	if !ok {
		return
	}
	switch n := v.any.(type) {
	case int64:
		set(v, float64(n))
	case float64:
		set(v, n)
	default:
		r.wrongType(v, allowed)
	}
}

// duration reads a duration.
func (r *reader) duration(key string, set func(value, time.Duration)) {
	read(r, key, strict.DurationForm, func(v value, s string) {
		var d strict.Duration
		if err := d.UnmarshalText([]byte(s)); err != nil {
			r.report(v, err.Error(), strict.DurationForm)
			return
		}
		set(v, time.Duration(d))
	})
}

// table returns a reader of the tables below a key, or nil if there is none.
func (r *reader) table(key string) *reader {
	r.known = append(r.known, key)
	sub := &reader{problems: r.problems}
	for _, l := range r.layers {
		x, ok := l.table[key]
		if !ok {
			continue
		}
		v := value{l, key, x}
		t, ok := x.(map[string]any)
		if !ok {
			r.wrongType(v, "a table")
			continue
		}
		sub.layers = append(sub.layers, layer{l.doc, v.path(), t})
	}
	if len(sub.layers) == 0 {
		return nil
	}
	return sub
}

// keys returns the keys of all layers.
func (r *reader) keys() []string {
	all := map[string]bool{}
	for _, l := range r.layers {
		for k := range l.table {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// done reports the keys that nobody asked for. Keys are what they are: NAME is
// not name.
func (r *reader) done() {
	slices.Sort(r.known)
	r.known = slices.Compact(r.known)
	for _, l := range r.layers {
		for k := range l.table {
			if !slices.Contains(r.known, k) {
				r.report(value{l, k, nil}, fmt.Sprintf("unknown key %q%s", k, strict.Nearest(k, r.known)), strings.Join(r.known, ", "))
			}
		}
	}
}
