// Package condition compiles the expressions of rules. An expression is made of
// fields, literals and operators that cannot fail; compiled, it is a tree of
// closures that reads a record or an observation and allocates nothing.
package condition

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/expr-lang/expr/ast"
	exprfile "github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// Kind is what a field holds.
type Kind uint8

const (
	Text Kind = iota
	Number
	Truth
	List    // of texts
	Address // an IP address; "" stands for none
)

// String returns the kind's name in messages.
func (k Kind) String() string {
	return [...]string{"a text", "a number", "true or false", "a list", "an address"}[k%5]
}

// Unit is what a number counts. Literals such as "6h" and "50MB" take the unit of
// the number beside them.
type Unit uint8

const (
	NoUnit Unit = iota
	Seconds
	Nanoseconds
	Bytes
)

// Field is what a name stands for. Exactly the function of its kind is set. What it
// returns may belong to the value it was given.
type Field[T any] struct {
	Kind   Kind
	Unit   Unit
	Values []string // the texts that it can be, if they are few

	Text    func(*T) string
	Number  func(*T) float64
	Truth   func(*T) bool
	List    func(*T) []string
	Address func(*T) netip.Addr
}

// Table holds the fields of one kind of expression, by their dotted names.
type Table[T any] map[string]Field[T]

// Zones are the named networks.
type Zones map[string][]netip.Prefix

// Condition is a compiled expression over a T. The zero Condition matches nothing.
// It may be used concurrently.
type Condition[T any] struct {
	holds truth[T]
	terms []Term[T]
}

// Matches reports whether the condition holds. It cannot fail.
func (c *Condition[T]) Matches(v *T) bool { return c.holds != nil && c.holds(v, "") }

// Terms returns the parts that the outermost `and`s join: the condition holds if
// each of them does.
func (c *Condition[T]) Terms() []Term[T] { return c.terms }

// Term is one part of a condition.
type Term[T any] struct {
	Source string   // in the language's own form
	Fields []string // that it names, in order
	holds  truth[T]

	// Of a comparison of one number with a literal.
	Operator string // "<", "<=", ">", ">=", "==", "!="; "" for another term
	Limit    float64
	Observed func(*T) float64
}

// Holds reports whether the term does.
func (t *Term[T]) Holds(v *T) bool { return t.holds(v, "") }

// Fault is one thing that is wrong in an expression.
type Fault struct {
	Line, Column int // of the expression: from 1, from 0 in characters
	What         string
	// Wrong is what stands where one of Among should; a nil Among means the names of
	// the table.
	Wrong string
	Among []string
}

// Functions are what a condition may call.
var Functions = []string{"cidr", "zone", "any", "all", "none", "len"}

// Compile returns the compiled expression, or all that is wrong with it.
//
// What is allowed is listed, not what is forbidden. There is no indexing, no
// remainder, no pattern that is not a literal, no variable and no nil.
func Compile[T any](source string, fields Table[T], zones Zones) (Condition[T], []Fault) {
	c := compiler[T]{fields: fields, zones: zones, source: source}
	tree, err := parser.Parse(source)
	if err != nil {
		return Condition[T]{}, []Fault{located(err)}
	}
	v := c.build(tree.Node)
	if len(c.faults) == 0 && v.kind != Truth {
		c.fault(tree.Node, "a condition is true or false; this is %s", v.kind)
	}
	if len(c.faults) > 0 {
		return Condition[T]{}, c.faults
	}
	out := Condition[T]{holds: v.truth}
	c.split(tree.Node, &out)
	if never := contradiction(out.terms, c.equals); never != "" {
		c.fault(tree.Node, "this can never hold: %s", never)
		return Condition[T]{}, c.faults
	}
	return out, nil
}

// located turns the parser's error into a fault.
func located(err error) Fault {
	var fe *exprfile.Error
	if !errors.As(err, &fe) {
		return Fault{Line: 1, What: strings.SplitN(err.Error(), "\n", 2)[0]}
	}
	return Fault{Line: max(fe.Line, 1), Column: fe.Column, What: fe.Message}
}

// compiler compiles one expression.
type compiler[T any] struct {
	fields Table[T]
	zones  Zones
	source string
	faults []Fault
	equals []equality // of the outermost terms
	inList int        // depth of predicates
}

// wrong reports s where one of some names should stand.
func (c *compiler[T]) wrong(n ast.Node, s string, among []string, format string, args ...any) {
	c.fault(n, format, args...)
	f := &c.faults[len(c.faults)-1]
	f.Wrong, f.Among = s, among
}

func (c *compiler[T]) fault(n ast.Node, format string, args ...any) {
	e := exprfile.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	c.faults = append(c.faults, located(e.Bind(exprfile.NewSource(c.source))))
}

// split notes the terms that the outermost ands join.
func (c *compiler[T]) split(n ast.Node, out *Condition[T]) {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		c.split(b.Left, out)
		c.split(b.Right, out)
		return
	}
	t := Term[T]{Source: n.String(), holds: c.build(n).truth}
	ast.Walk(&n, &names{fields: &t.Fields})
	if b, ok := n.(*ast.BinaryNode); ok {
		c.compared(b, &t)
		c.equated(b)
	}
	out.terms = append(out.terms, t)
}

// compared notes what a term compares, if it is a number with a literal.
func (c *compiler[T]) compared(b *ast.BinaryNode, t *Term[T]) {
	op, left, right := b.Operator, b.Left, b.Right
	if literal(left) {
		op, left, right = mirrored[op], right, left
	}
	if _, ok := mirrored[op]; !ok || !literal(right) {
		return
	}
	l, r := c.pair(left, right)
	if l.kind == Number && r.kind == Number {
		t.Operator, t.Limit = op, r.number(nil, "")
		t.Observed = func(v *T) float64 { return l.number(v, "") }
	}
}

// mirrored are the comparisons with their sides changed.
var mirrored = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

// literal reports whether a node is a number or a text of the expression itself.
func literal(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
		return true
	case *ast.UnaryNode:
		return n.Operator == "-" && literal(n.Node)
	}
	return false
}

// equality says that a term wants a field to be a certain text.
type equality struct{ field, text string }

func (c *compiler[T]) equated(b *ast.BinaryNode) {
	left, right := b.Left, b.Right
	if literal(left) {
		left, right = right, left
	}
	if s, ok := right.(*ast.StringNode); ok && b.Operator == "==" && name(left) != "" {
		if f := c.fields[name(left)]; f.Kind == Text || f.Kind == Address {
			c.equals = append(c.equals, equality{name(left), s.Value})
		}
	}
}

// contradiction returns two terms that exclude each other, or "".
func contradiction[T any](terms []Term[T], equals []equality) string {
	for i, a := range equals {
		for _, b := range equals[:i] {
			if a.field == b.field && a.text != b.text {
				return fmt.Sprintf("%s is %q and %q", a.field, b.text, a.text)
			}
		}
	}
	for i, a := range terms {
		for _, b := range terms[:i] {
			if a.Operator == "" || b.Operator == "" || len(a.Fields) != 1 || len(b.Fields) != 1 || a.Fields[0] != b.Fields[0] ||
				!plain(a.Source) || !plain(b.Source) {
				continue
			}
			if apart(a.Operator, a.Limit, b.Operator, b.Limit) {
				return b.Source + " and " + a.Source
			}
		}
	}
	return ""
}

// plain reports whether a comparison has no arithmetic in it.
func plain(source string) bool { return !strings.ContainsAny(source, "+*/(") }

// apart reports whether no number is in both of two half-lines or points.
func apart(op1 string, v1 float64, op2 string, v2 float64) bool {
	if op1 == "==" && op2 == "==" {
		return v1 != v2
	}
	for range 2 {
		switch {
		case op1 == "==" && op2 == "!=":
			return v1 == v2
		case op1 == "==" && op2 == "<", (op1 == ">" || op1 == ">=") && op2 == "<", op1 == ">" && op2 == "<=":
			return v1 >= v2
		case op1 == "==" && op2 == "<=", op1 == ">=" && op2 == "<=":
			return v1 > v2
		case op1 == "==" && op2 == ">":
			return v1 <= v2
		case op1 == "==" && op2 == ">=":
			return v1 < v2
		}
		op1, v1, op2, v2 = op2, v2, op1, v1
	}
	return false
}

// names collects the fields that a tree names.
type names struct{ fields *[]string }

func (w *names) Visit(n *ast.Node) {
	if s := name(*n); s != "" {
		// The walk meets source before source.ip: the longer name counts.
		fs := *w.fields
		if last := len(fs) - 1; last >= 0 && strings.HasPrefix(s, fs[last]+".") {
			fs[last] = s
			return
		}
		*w.fields = append(fs, s)
	}
}

// name returns the dotted name that a node spells, or "".
func name(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		p, ok := n.Property.(*ast.StringNode)
		if table := name(n.Node); ok && table != "" && !n.Optional && !n.Method {
			return table + "." + p.Value
		}
	}
	return ""
}
