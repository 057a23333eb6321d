package strict

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is an error of a value that also says what may stand there. What a type's
// UnmarshalText or UnmarshalTOML returns may be one.
type Fault struct{ What, Allowed string }

func (f *Fault) Error() string { return f.What }

// Defaulter is a value that is not zero where a file does not say otherwise: the
// values of a map, which nobody can fill in before.
type Defaulter interface{ SetDefaults() }

// Checker is a table that has more to say of its values than their types do. It
// calls bad for each key that is wrong; a path within the table is joined by dots,
// and "" means the table.
type Checker interface {
	Check(bad func(key, what, allowed string))
}

// Decode reads a file into the struct that v points to, which holds the defaults.
// Keys are what the struct's toml tags say, and are known only as they are written
// there. It returns everything that is wrong.
func Decode(d *Document, v any) []*Problem {
	content, bad := d.Tables()
	if bad != nil {
		return []*Problem{bad}
	}
	x := decoder{doc: d, wrong: map[string]bool{}}
	x.table(nil, content, reflect.ValueOf(v).Elem())
	return x.problems
}

// decoder reads one file.
type decoder struct {
	doc      *Document
	problems []*Problem
	wrong    map[string]bool // paths, joined, whose values could not be read
}

func (x *decoder) report(path []string, what, allowed string) {
	x.wrong[joined(path)] = true
	x.problems = append(x.problems, x.doc.Problem(path, what, allowed))
}

// table reads a table into a struct.
func (x *decoder) table(path []string, content map[string]any, v reflect.Value) {
	fields := fieldsOf(v)
	names := slices.Sorted(maps.Keys(fields))
	for _, key := range slices.Sorted(maps.Keys(content)) {
		below := append(path[:len(path):len(path)], key)
		field, known := fields[key]
		if !known {
			x.report(below, fmt.Sprintf("unknown key %q%s", key, Nearest(key, names)), strings.Join(names, ", "))
			continue
		}
		x.value(below, content[key], field)
	}
	if c, ok := v.Addr().Interface().(Checker); ok {
		c.Check(func(key, what, allowed string) {
			at := path
			if key != "" {
				at = append(path[:len(path):len(path)], strings.Split(key, ".")...)
			}
			if !x.wrong[joined(at)] { // its type was reported
				x.problems = append(x.problems, x.doc.Problem(at, what, allowed))
			}
		})
	}
}

// fieldsOf returns a struct's fields by their keys, those of embedded structs among
// them.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && key == "":
			maps.Copy(fields, fieldsOf(v.Field(i)))
		case f.IsExported() && key != "" && key != "-":
			fields[key] = v.Field(i)
		}
	}
	return fields
}

// value reads one value.
func (x *decoder) value(path []string, from any, to reflect.Value) {
	if x.own(path, from, to) {
		return
	}
	switch to.Kind() {
	case reflect.Pointer:
		if to.IsNil() {
			to.Set(fresh(to.Type().Elem()).Addr())
		}
		x.value(path, from, to.Elem())
	case reflect.Struct:
		if t, ok := x.typed(path, from, "a table").(map[string]any); ok {
			x.table(path, t, to)
		}
	case reflect.Map:
		if t, ok := x.typed(path, from, "a table").(map[string]any); ok {
			x.entries(path, t, to)
		}
	case reflect.Slice:
		x.list(path, from, to)
	default:
		x.scalar(path, from, to)
	}
}

// own lets a value read itself, if it can.
func (x *decoder) own(path []string, from any, to reflect.Value) bool {
	var err error
	form := ""
	switch u := to.Addr().Interface().(type) {
	case interface{ UnmarshalTOML(any) error }:
		err = u.UnmarshalTOML(from)
	case *time.Duration:
		form = DurationForm
		if s, ok := x.typed(path, from, form).(string); ok {
			err = (*Duration)(u).UnmarshalText([]byte(s))
		}
	case encoding.TextUnmarshaler:
		if f, ok := u.(interface{ Form() string }); ok {
			form = f.Form()
		}
		if s, ok := x.typed(path, from, or(form, "a text in quotes")).(string); ok {
			err = u.UnmarshalText([]byte(s))
		}
	default:
		return false
	}
	if f, ok := err.(*Fault); ok {
		x.report(path, f.What, f.Allowed)
	} else if err != nil {
		x.report(path, err.Error(), form)
	}
	return true
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// typed returns the value if it is of the kind that is wanted, or else reports it and
// returns nil. The form says what is wanted: a table, or anything else for a text.
func (x *decoder) typed(path []string, from any, form string) any {
	_, text := from.(string)
	_, table := from.(map[string]any)
	if form == "a table" && table || form != "a table" && text {
		return from
	}
	x.wrongType(path, from, form)
	return nil
}

func (x *decoder) wrongType(path []string, from any, allowed string) {
	name := path[len(path)-1]
	if n, err := strconv.Atoi(name); err == nil && len(path) > 1 {
		name = fmt.Sprintf("element %d of %s", n+1, path[len(path)-2])
	}
	x.report(path, fmt.Sprintf("%s is %s", name, KindOf(from)), allowed)
}

// KindOf names the type of a TOML value.
func KindOf(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	}
	return "a list"
}

// entries reads a table whose keys are names that the file chooses.
func (x *decoder) entries(path []string, content map[string]any, to reflect.Value) {
	if to.IsNil() {
		to.Set(reflect.MakeMap(to.Type()))
	}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		below := append(path[:len(path):len(path)], name)
		if to.Type().Elem().Kind() == reflect.Struct && !validName(name) {
			x.report(below, fmt.Sprintf("%q is no name", name), NameForm)
			continue
		}
		entry := fresh(to.Type().Elem())
		if before := to.MapIndex(reflect.ValueOf(name)); before.IsValid() {
			entry.Set(before)
		}
		x.value(below, content[name], entry)
		to.SetMapIndex(reflect.ValueOf(name), entry)
	}
}

// fresh returns a value with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v.Elem()
}

// NameForm says what names that a file chooses look like: they come into metrics,
// logs and file names.
const NameForm = "lower-case letters, digits, - and _, at most 64, the first one a letter"

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if letter := 'a' <= c && c <= 'z'; !letter && (i == 0 || !('0' <= c && c <= '9' || c == '-' || c == '_')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// list reads a list. What the file says replaces the defaults.
func (x *decoder) list(path []string, from any, to reflect.Value) {
	all, ok := from.([]any)
	if !ok {
		x.wrongType(path, from, listForm(to.Type().Elem()))
		return
	}
	list := reflect.MakeSlice(to.Type(), len(all), len(all))
	for i, e := range all {
		x.value(append(path[:len(path):len(path)], strconv.Itoa(i)), e, list.Index(i))
	}
	to.Set(list)
}

func listForm(t reflect.Type) string {
	if t.Kind() == reflect.String || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return `a list of texts, such as ["a", "b"]`
	}
	return "a list"
}

// scalar reads a text, a truth or a number.
func (x *decoder) scalar(path []string, from any, to reflect.Value) {
	switch to.Kind() {
	case reflect.String:
		if s, ok := x.typed(path, from, "a text in quotes").(string); ok {
			to.SetString(s)
		}
	case reflect.Bool:
		b, ok := from.(bool)
		if !ok {
			x.wrongType(path, from, "true, false (without quotes)")
		}
		to.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := from.(int64)
		if !ok || to.OverflowInt(n) {
			x.wrongType(path, from, "a whole number")
			return
		}
		to.SetInt(n)
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := from.(int64)
		if !ok || n < 0 || to.OverflowUint(uint64(n)) {
			x.wrongType(path, from, "a whole number that is not negative")
			return
		}
		to.SetUint(uint64(n))
	case reflect.Float64:
		x.number(path, from, to)
	default:
		panic("strict: a struct with a field of type " + to.Type().String())
	}
}

func (x *decoder) number(path []string, from any, to reflect.Value) {
	switch n := from.(type) {
	case int64:
		to.SetFloat(float64(n))
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			x.report(path, fmt.Sprintf("%s = %v", path[len(path)-1], n), "a number that is finite")
			return
		}
		to.SetFloat(n)
	default:
		x.wrongType(path, from, "a number")
	}
}
