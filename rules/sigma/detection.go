package sigma

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidewatch/internal/strict"
)

// detection translates the detection of a rule into an expression.
func (t *translation) detection(n *yaml.Node, line int) string {
	if n.Kind != yaml.MappingNode {
		t.problem(max(n.Line, line), "the rule has no detection", "")
		return ""
	}
	searches := map[string]string{}
	var conditions *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key, value := n.Content[i], n.Content[i+1]; key.Value {
		case "condition":
			conditions = value
		case "timeframe":
			t.problem(key.Line, "a time frame belongs to an aggregation, which is not translated", `the rule by hand: detector = "threshold"`)
		default:
			searches[key.Value] = t.search(value)
		}
	}
	if conditions == nil {
		t.problem(n.Line, "the detection has no condition", "")
		return ""
	}
	all := []*yaml.Node{conditions}
	if conditions.Kind == yaml.SequenceNode {
		all = conditions.Content
	}
	var parts []string
	for _, c := range all {
		p := condition{t: t, line: c.Line, searches: searches, tokens: tokens(c.Value)}
		if strings.Contains(c.Value, "|") {
			t.problem(c.Line, "an aggregation (what stands behind |) is not translated", `the rule by hand: detector = "threshold"`)
			continue
		}
		parts = append(parts, p.whole())
	}
	return fmt.Sprintf("record.kind == %q and %s", t.source.kind, joined(parts, " or "))
}

// search translates one named search: maps are all to hold, of a list one.
func (t *translation) search(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var all []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			all = append(all, t.item(n.Content[i], n.Content[i+1]))
		}
		return joined(all, " and ")
	case yaml.SequenceNode:
		var any []string
		for _, c := range n.Content {
			any = append(any, t.search(c))
		}
		return joined(any, " or ")
	}
	t.problem(n.Line, "a keyword is looked for in the whole line of a log, of which only the fields are kept", "field: value")
	return "false"
}

// joined puts parts together, in parentheses if there are several.
func joined(parts []string, operator string) string {
	switch len(parts) {
	case 0:
		return "false"
	case 1:
		return parts[0]
	}
	return "(" + strings.Join(parts, operator) + ")"
}

// item translates one field with its modifiers and its values.
func (t *translation) item(key, value *yaml.Node) string {
	name, rest, _ := strings.Cut(key.Value, "|")
	var modifiers []string
	if rest != "" {
		modifiers = strings.Split(rest, "|")
	}
	field, ok := t.source.fields[name]
	if !ok {
		names := slices.Sorted(maps.Keys(t.source.fields))
		t.problem(key.Line, fmt.Sprintf("column %q is not kept%s", name, strict.Nearest(name, names)), strings.Join(names, ", "))
		return "false"
	}
	values := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		values = value.Content
	}
	operator := " or "
	if i := slices.Index(modifiers, "all"); i >= 0 {
		operator, modifiers = " and ", slices.Delete(modifiers, i, i+1)
	}
	var parts []string
	for _, v := range values {
		parts = append(parts, t.compare(field, modifiers, v))
	}
	return joined(parts, operator)
}

// compare translates the comparison of a field with one value.
func (t *translation) compare(field string, modifiers []string, v *yaml.Node) string {
	if v.Kind != yaml.ScalarNode {
		t.problem(v.Line, "a value is a text, a number, true, false or null", "")
		return "false"
	}
	how := strings.Join(modifiers, "|")
	if v.Tag == "!!null" && how == "" {
		return t.absent(field, v)
	}
	switch types[field] {
	case "number", "size", "time":
		return t.number(field, how, v)
	case "true or false":
		return t.truth(field, how, v)
	case "address":
		return t.address(field, how, v)
	case "list of texts":
		if s := t.text("#", how, v); s != "false" {
			return "any(" + field + ", " + s + ")"
		}
		return "false"
	}
	return t.text(field, how, v)
}

func (t *translation) modifier(how string, v *yaml.Node, allowed string) string {
	t.problem(v.Line, fmt.Sprintf("modifier %q", how), allowed)
	return "false"
}

// absent translates null: the record does not have the column.
func (t *translation) absent(field string, v *yaml.Node) string {
	switch types[field] {
	case "text", "address":
		return field + ` == ""`
	case "list of texts":
		return "len(" + field + ") == 0"
	}
	t.problem(v.Line, fmt.Sprintf("whether %s is there is not known: 0 and false stand for what is missing", field), "")
	return "false"
}

// comparisons are the modifiers that compare numbers.
var comparisons = map[string]string{"": "==", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

func (t *translation) number(field, how string, v *yaml.Node) string {
	op, ok := comparisons[how]
	if !ok {
		return t.modifier(how, v, "gt, gte, lt, lte for numbers")
	}
	if _, err := strconv.ParseFloat(v.Value, 64); err != nil {
		t.problem(v.Line, fmt.Sprintf("%s is a number, and %q is none", field, v.Value), "")
		return "false"
	}
	return field + " " + op + " " + v.Value
}

func (t *translation) truth(field, how string, v *yaml.Node) string {
	switch s := strings.ToLower(v.Value); {
	case how != "":
		return t.modifier(how, v, "none for what is true or false")
	case s == "true" || s == "t":
		return field
	case s == "false" || s == "f":
		return "not " + field
	}
	t.problem(v.Line, fmt.Sprintf("%s is true or false, and %q is neither", field, v.Value), "")
	return "false"
}

func (t *translation) address(field, how string, v *yaml.Node) string {
	switch how {
	case "cidr":
		if _, err := netip.ParsePrefix(v.Value); err == nil {
			return fmt.Sprintf("%s in cidr(%q)", field, v.Value)
		}
		t.problem(v.Line, fmt.Sprintf("%q is no network", v.Value), "")
		return "false"
	case "":
		if _, err := netip.ParseAddr(v.Value); err == nil {
			return fmt.Sprintf("%s == %q", field, v.Value)
		}
	case "startswith":
		if p, ok := octets(v.Value); ok {
			return fmt.Sprintf("%s in cidr(%q)", field, p)
		}
	}
	t.problem(v.Line, fmt.Sprintf("%s is an address, and is compared with an address or a network", field), "an address; |cidr with a network")
	return "false"
}

// octets turns "10.1." into the network that begins so.
func octets(s string) (network string, ok bool) {
	parts := strings.Split(s, ".")
	n := len(parts) - 1
	if n < 1 || n > 3 || parts[n] != "" {
		return "", false
	}
	p, err := netip.ParsePrefix(strings.Join(parts[:n], ".") + strings.Repeat(".0", 4-n) + "/" + strconv.Itoa(8*n))
	return p.String(), err == nil
}

// text translates a comparison of texts. Sigma's do not mind the case, and know * and ?.
func (t *translation) text(field, how string, v *yaml.Node) string {
	parts := strings.Split(how, "|")
	cased := slices.Contains(parts, "cased")
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "cased" })
	switch how = strings.Join(parts, "|"); how {
	case "re", "re|i":
		return t.pattern(field, how == "re|i", v)
	case "", "contains", "startswith", "endswith":
	default:
		return t.modifier(how, v, "contains, startswith, endswith, all, re, cased for texts; gt, gte, lt, lte for numbers; cidr for addresses")
	}
	if how == "" && v.Value == "" {
		return field + ` == ""`
	}
	literal, wild := wildcards(v.Value)
	if !wild && (cased || strings.ToLower(literal) == strings.ToUpper(literal)) {
		op := map[string]string{"": "==", "contains": "contains", "startswith": "startsWith", "endswith": "endsWith"}[how]
		return fmt.Sprintf("%s %s %s", field, op, strconv.Quote(literal))
	}
	re := expression(v.Value)
	if how == "" || how == "startswith" {
		re = "^" + re
	}
	if how == "" || how == "endswith" {
		re += "$"
	}
	flags := "(?is)"
	if cased {
		flags = "(?s)"
	}
	return fmt.Sprintf("%s matches %s", field, strconv.Quote(flags+re))
}

// pattern translates a regular expression, if it is one here, too.
func (t *translation) pattern(field string, fold bool, v *yaml.Node) string {
	re := v.Value
	if fold {
		re = "(?i)" + re
	}
	if _, err := regexp.Compile(re); err != nil {
		t.problem(v.Line, "the regular expression is not one of RE2: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "RE2: no look-around, no back-references")
		return "false"
	}
	return fmt.Sprintf("%s matches %s", field, strconv.Quote(re))
}

// wildcards returns a value without its escapes, and whether it has * or ? in it.
func wildcards(s string) (literal string, wild bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\*?`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case c == '*' || c == '?':
			wild = true
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), wild
}

// expression turns a value with wildcards into a regular expression.
func expression(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\*?`, s[i+1]) >= 0:
			i++
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		}
	}
	return b.String()
}
