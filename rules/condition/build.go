package condition

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// The compiled forms. The text is the element that a predicate looks at.
type (
	text[T any]    func(v *T, element string) string
	number[T any]  func(v *T, element string) float64
	truth[T any]   func(v *T, element string) bool
	list[T any]    func(v *T, element string) []string
	address[T any] func(v *T, element string) netip.Addr
)

// compiled is one compiled node: the form of its kind is set, or none after a fault.
type compiled[T any] struct {
	kind   Kind
	ok     bool
	unit   Unit
	values []string
	name   string // of a field

	text    text[T]
	number  number[T]
	truth   truth[T]
	list    list[T]
	address address[T]
}

// build compiles a node. After a fault it returns what is not ok, of which nobody
// says anything more.
func (c *compiler[T]) build(n ast.Node) compiled[T] {
	switch n := n.(type) {
	case *ast.BoolNode:
		return ofTruth(func(*T, string) bool { return n.Value })
	case *ast.IntegerNode:
		return constant[T](float64(n.Value))
	case *ast.FloatNode:
		return constant[T](n.Value)
	case *ast.StringNode:
		return compiled[T]{kind: Text, ok: true, text: func(*T, string) string { return n.Value }}
	case *ast.IdentifierNode, *ast.MemberNode:
		return c.field(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.BuiltinNode:
		return c.builtin(n)
	case *ast.PointerNode:
		if n.Name == "" && c.inList > 0 {
			return compiled[T]{kind: Text, ok: true, text: func(_ *T, element string) string { return element }}
		}
		c.fault(n, "#%s is not known here", n.Name)
	case *ast.CallNode:
		c.call(n)
	case *ast.ArrayNode:
		c.fault(n, "a list stands after in")
	default:
		c.fault(n, "conditions are made of fields, literals, operators and the functions %s", strings.Join(Functions, ", "))
	}
	return compiled[T]{}
}

func ofTruth[T any](f truth[T]) compiled[T] { return compiled[T]{kind: Truth, ok: true, truth: f} }

func ofNumber[T any](f number[T]) compiled[T] { return compiled[T]{kind: Number, ok: true, number: f} }

func constant[T any](v float64) compiled[T] { return ofNumber(func(*T, string) float64 { return v }) }

// field compiles a name.
func (c *compiler[T]) field(n ast.Node) compiled[T] {
	s := name(n)
	f, ok := c.fields[s]
	switch {
	case s == "":
		c.fault(n, "this is no field, and lists have no index")
		return compiled[T]{}
	case !ok:
		where := n
		for m, ok := where.(*ast.MemberNode); ok; m, ok = where.(*ast.MemberNode) {
			where = m.Node // point at the beginning of the name
		}
		c.wrong(where, s, nil, "unknown name %s", s)
		return compiled[T]{}
	}
	v := compiled[T]{kind: f.Kind, ok: true, unit: f.Unit, values: f.Values, name: s}
	switch f.Kind {
	case Text:
		v.text = func(v *T, _ string) string { return f.Text(v) }
	case Number:
		v.number = func(v *T, _ string) float64 { return f.Number(v) }
	case Truth:
		v.truth = func(v *T, _ string) bool { return f.Truth(v) }
	case List:
		v.list = func(v *T, _ string) []string { return f.List(v) }
	case Address:
		v.address = func(v *T, _ string) netip.Addr { return f.Address(v) }
	}
	return v
}

func (c *compiler[T]) unary(n *ast.UnaryNode) compiled[T] {
	v := c.build(n.Node)
	switch n.Operator {
	case "not", "!":
		if c.want(n.Node, v, Truth, n.Operator) {
			return ofTruth(func(x *T, e string) bool { return !v.truth(x, e) })
		}
	case "-", "+":
		if c.want(n.Node, v, Number, n.Operator) {
			if n.Operator == "+" {
				return v
			}
			out := ofNumber(func(x *T, e string) float64 { return -v.number(x, e) })
			out.unit = v.unit
			return out
		}
	default:
		c.fault(n, "operator %s is not for conditions", n.Operator)
	}
	return compiled[T]{}
}

// want reports whether a side of an operator has the kind that it needs.
func (c *compiler[T]) want(n ast.Node, v compiled[T], kind Kind, operator string) bool {
	if v.ok && v.kind != kind {
		c.fault(n, "%s takes %s, and %s is %s", operator, kind, n, v.kind)
		return false
	}
	return v.ok
}

func (c *compiler[T]) binary(n *ast.BinaryNode) compiled[T] {
	switch n.Operator {
	case "and", "&&", "or", "||":
		return c.joint(n)
	case "in":
		return c.in(n)
	case "matches":
		return c.matches(n)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.compare(n)
	case "+", "-", "*", "/":
		return c.arithmetic(n)
	case "contains", "startsWith", "endsWith":
		return c.partly(n)
	}
	c.fault(n, "operator %s is not for conditions", n.Operator)
	return compiled[T]{}
}

func (c *compiler[T]) joint(n *ast.BinaryNode) compiled[T] {
	l, r := c.build(n.Left), c.build(n.Right)
	if ok1, ok2 := c.want(n.Left, l, Truth, n.Operator), c.want(n.Right, r, Truth, n.Operator); !ok1 || !ok2 {
		return compiled[T]{}
	}
	a, b := l.truth, r.truth
	if n.Operator == "and" || n.Operator == "&&" {
		return ofTruth(func(v *T, e string) bool { return a(v, e) && b(v, e) })
	}
	return ofTruth(func(v *T, e string) bool { return a(v, e) || b(v, e) })
}

func (c *compiler[T]) arithmetic(n *ast.BinaryNode) compiled[T] {
	l, r := c.pair(n.Left, n.Right)
	if ok1, ok2 := c.want(n.Left, l, Number, n.Operator), c.want(n.Right, r, Number, n.Operator); !ok1 || !ok2 {
		return compiled[T]{}
	}
	a, b := l.number, r.number
	out := ofNumber(map[string]number[T]{
		"+": func(v *T, e string) float64 { return a(v, e) + b(v, e) },
		"-": func(v *T, e string) float64 { return a(v, e) - b(v, e) },
		"*": func(v *T, e string) float64 { return a(v, e) * b(v, e) },
		"/": func(v *T, e string) float64 { return a(v, e) / b(v, e) },
	}[n.Operator])
	if out.unit = l.unit; out.unit == NoUnit {
		out.unit = r.unit
	}
	if n.Operator == "/" && l.unit == r.unit {
		out.unit = NoUnit
	}
	return out
}

// partly compiles the operators that look into a text.
func (c *compiler[T]) partly(n *ast.BinaryNode) compiled[T] {
	l, r := c.build(n.Left), c.build(n.Right)
	if l.ok && l.kind == Address {
		c.fault(n.Left, "%s is an address: compare it with ==, or with in cidr(...) or zone(...)", n.Left)
		return compiled[T]{}
	}
	if ok1, ok2 := c.want(n.Left, l, Text, n.Operator), c.want(n.Right, r, Text, n.Operator); !ok1 || !ok2 {
		return compiled[T]{}
	}
	in := map[string]func(s, part string) bool{"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}[n.Operator]
	a, b := l.text, r.text
	return ofTruth(func(v *T, e string) bool { return in(a(v, e), b(v, e)) })
}

func (c *compiler[T]) matches(n *ast.BinaryNode) compiled[T] {
	l := c.build(n.Left)
	s, ok := n.Right.(*ast.StringNode)
	if !ok {
		c.fault(n.Right, "the pattern after matches is a text in quotes")
		return compiled[T]{}
	}
	p, err := newPattern(s.Value)
	if err != nil {
		c.fault(s, "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return compiled[T]{}
	}
	if !c.want(n.Left, l, Text, "matches") {
		return compiled[T]{}
	}
	return ofTruth(func(v *T, e string) bool { return p.matches(l.text(v, e)) })
}

// builtin compiles the functions that the language has itself.
func (c *compiler[T]) builtin(n *ast.BuiltinNode) compiled[T] {
	if !slices.Contains(Functions, n.Name) {
		c.fault(n, "function %s is not among %s", n.Name, strings.Join(Functions, ", "))
		return compiled[T]{}
	}
	if n.Name == "len" {
		return c.length(n)
	}
	var p *ast.PredicateNode
	if len(n.Arguments) == 2 {
		p, _ = n.Arguments[1].(*ast.PredicateNode)
	}
	if p == nil {
		c.fault(n, "%s takes a list and what is to hold of each # in it", n.Name)
		return compiled[T]{}
	}
	over := c.build(n.Arguments[0])
	c.inList++
	each := c.build(p.Node)
	c.inList--
	if ok1, ok2 := c.want(n.Arguments[0], over, List, n.Name), c.want(p.Node, each, Truth, n.Name); !ok1 || !ok2 {
		return compiled[T]{}
	}
	return quantified(n.Name, over.list, each.truth)
}

// length compiles len.
func (c *compiler[T]) length(n *ast.BuiltinNode) compiled[T] {
	if len(n.Arguments) != 1 {
		c.fault(n, "len takes a list or a text")
		return compiled[T]{}
	}
	over := c.build(n.Arguments[0])
	if over.ok && over.kind == Text {
		return ofNumber(func(v *T, e string) float64 { return float64(len(over.text(v, e))) })
	}
	if !c.want(n.Arguments[0], over, List, "len") {
		return compiled[T]{}
	}
	return ofNumber(func(v *T, e string) float64 { return float64(len(over.list(v, e))) })
}

// quantified compiles any, all and none.
func quantified[T any](which string, over list[T], each truth[T]) compiled[T] {
	stop, found := true, true // any: one that holds makes it true
	switch which {
	case "all":
		stop, found = false, false
	case "none":
		found = false
	}
	return ofTruth(func(v *T, e string) bool {
		for _, element := range over(v, e) {
			if each(v, element) == stop {
				return found
			}
		}
		return !found
	})
}

func (c *compiler[T]) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	switch {
	case !ok:
		c.fault(n, "only functions can be called: %s", strings.Join(Functions, ", "))
	case callee.Value == "cidr" || callee.Value == "zone":
		c.fault(n, `%s stands after in: source.ip in %[1]s("...")`, callee.Value)
	default:
		c.wrong(n, callee.Value, Functions, "unknown function %s", callee.Value)
	}
}

// Network reads an address or a network.
func Network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// prefixes returns the networks that a call of cidr or zone stands for.
func (c *compiler[T]) prefixes(call *ast.CallNode) (all []netip.Prefix, ok bool) {
	before := len(c.faults)
	callee := name(call.Callee)
	if callee != "cidr" && callee != "zone" {
		c.call(call)
		return nil, false
	}
	for _, a := range call.Arguments {
		s, ok := a.(*ast.StringNode)
		switch {
		case !ok:
			c.fault(call, "%s takes texts in quotes", callee)
		case callee == "cidr":
			p, err := Network(s.Value)
			if err != nil {
				c.fault(a, "%q is no network; write one such as 10.0.0.0/8", s.Value)
			}
			all = append(all, p)
		default:
			z, ok := c.zones[s.Value]
			if !ok {
				c.wrong(a, s.Value, slices.Sorted(maps.Keys(c.zones)), "no zone %q is declared; [zone] %s = [\"10.1.2.0/24\"] declares one", s.Value, zoneKey(s.Value))
			}
			all = append(all, z...)
		}
	}
	if len(call.Arguments) == 0 {
		c.fault(call, "%s takes a text in quotes", callee)
	}
	return all, len(c.faults) == before
}

// zoneKey writes a zone's name as a TOML key.
func zoneKey(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
