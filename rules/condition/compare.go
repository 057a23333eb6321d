package condition

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// pair compiles the two sides of an operator. A text beside a number is a quantity
// with its unit.
func (c *compiler[T]) pair(left, right ast.Node) (l, r compiled[T]) {
	l, r = c.build(left), c.build(right)
	if s, ok := right.(*ast.StringNode); ok && l.ok && l.kind == Number {
		r = c.quantity(s, l.unit, left)
	} else if s, ok := left.(*ast.StringNode); ok && r.ok && r.kind == Number {
		l = c.quantity(s, r.unit, right)
	}
	return l, r
}

// quantity compiles a literal such as "6h" or "50MB".
func (c *compiler[T]) quantity(s *ast.StringNode, unit Unit, beside ast.Node) compiled[T] {
	v, is, ok := Quantity(s.Value)
	switch {
	case !ok:
		c.fault(s, "%s is a number, and %q is none; a quantity is written as 5, \"6h\" or \"50MB\"", beside, s.Value)
		return compiled[T]{}
	case unit == NoUnit, (unit == Bytes) != (is == Bytes):
		c.fault(s, "%s is %s, and %q is %s", beside, unit, s.Value, is)
		return compiled[T]{}
	case unit == Nanoseconds:
		v *= 1e9
	}
	return constant[T](v)
}

// String says what is counted.
func (u Unit) String() string {
	return [...]string{"a plain number", "a time", "a time", "a size"}[u%4]
}

var sizes = map[string]float64{"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

var times = map[string]float64{"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

// Quantity reads a number with its unit: a size in bytes ("50MB", "1.5GiB"), or a
// time in seconds, whose units may follow each other ("90s", "1h30m", "7d").
func Quantity(s string) (v float64, unit Unit, ok bool) {
	if s == "" {
		return 0, NoUnit, false
	}
	for rest := s; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] == '.' || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		x, err := strconv.ParseFloat(rest[:n], 64)
		m := n
		for m < len(rest) && rest[m] != '.' && !(rest[m] >= '0' && rest[m] <= '9') {
			m++
		}
		name := rest[n:m]
		rest = rest[m:]
		if size, known := sizes[name]; known && err == nil {
			return x * size, Bytes, unit == NoUnit && rest == ""
		}
		scale, known := times[name]
		if !known || err != nil {
			return 0, NoUnit, false
		}
		v, unit = v+x*scale, Seconds
	}
	return v, unit, v <= (10 * 366 * 24 * time.Hour).Seconds()
}

// compare compiles ==, != and the orders.
func (c *compiler[T]) compare(n *ast.BinaryNode) compiled[T] {
	l, r := c.pair(n.Left, n.Right)
	if !l.ok || !r.ok {
		return compiled[T]{}
	}
	same := n.Operator == "==" || n.Operator == "!="
	switch {
	case l.kind == Number && r.kind == Number:
		return ofTruth(numbers(n.Operator, l, r))
	case l.kind == Address || r.kind == Address:
		return c.addresses(n, l, r)
	case l.kind == Text && r.kind == Text:
		c.never(n.Left, n.Right, l)
		c.never(n.Right, n.Left, r)
		return ofTruth(texts(n.Operator, l, r))
	case l.kind == Truth && r.kind == Truth && same:
		want := n.Operator == "=="
		return ofTruth(func(v *T, e string) bool { return (l.truth(v, e) == r.truth(v, e)) == want })
	case l.kind != r.kind:
		c.fault(n, "%s compares two of a kind: %s is %s, and %s is %s", n.Operator, n.Left, l.kind, n.Right, r.kind)
	default:
		c.fault(n, "%s does not compare what is %s", n.Operator, l.kind)
	}
	return compiled[T]{}
}

// numbers compiles a comparison of numbers; with a literal, which is the most
// frequent case, it costs one call less.
func numbers[T any](op string, l, r compiled[T]) truth[T] {
	a, b := l.number, r.number
	switch op {
	case "==":
		return func(v *T, e string) bool { return a(v, e) == b(v, e) }
	case "!=":
		return func(v *T, e string) bool { return a(v, e) != b(v, e) }
	case "<":
		return func(v *T, e string) bool { return a(v, e) < b(v, e) }
	case "<=":
		return func(v *T, e string) bool { return a(v, e) <= b(v, e) }
	case ">":
		return func(v *T, e string) bool { return a(v, e) > b(v, e) }
	}
	return func(v *T, e string) bool { return a(v, e) >= b(v, e) }
}

func texts[T any](op string, l, r compiled[T]) truth[T] {
	a, b := l.text, r.text
	switch op {
	case "==":
		return func(v *T, e string) bool { return a(v, e) == b(v, e) }
	case "!=":
		return func(v *T, e string) bool { return a(v, e) != b(v, e) }
	case "<":
		return func(v *T, e string) bool { return a(v, e) < b(v, e) }
	case "<=":
		return func(v *T, e string) bool { return a(v, e) <= b(v, e) }
	case ">":
		return func(v *T, e string) bool { return a(v, e) > b(v, e) }
	}
	return func(v *T, e string) bool { return a(v, e) >= b(v, e) }
}

// addresses compiles a comparison with an address, whatever form a literal has.
func (c *compiler[T]) addresses(n *ast.BinaryNode, l, r compiled[T]) compiled[T] {
	if n.Operator != "==" && n.Operator != "!=" {
		c.fault(n, "addresses have no order: compare them with ==, or with in cidr(...)")
		return compiled[T]{}
	}
	a, ok1 := c.addressed(n.Left, n.Right, l)
	b, ok2 := c.addressed(n.Right, n.Left, r)
	if !ok1 || !ok2 {
		return compiled[T]{}
	}
	want := n.Operator == "=="
	return ofTruth(func(v *T, e string) bool { return (a(v, e) == b(v, e)) == want })
}

// addressed turns a side into an address.
func (c *compiler[T]) addressed(n, beside ast.Node, v compiled[T]) (address[T], bool) {
	if v.kind == Address {
		return v.address, true
	}
	s, ok := n.(*ast.StringNode)
	if !ok {
		c.fault(n, "%s is an address, and %s is %s", beside, n, v.kind)
		return nil, false
	}
	a, ok := c.literalAddress(s, beside)
	return func(*T, string) netip.Addr { return a }, ok
}

func (c *compiler[T]) literalAddress(s *ast.StringNode, beside ast.Node) (netip.Addr, bool) {
	if s.Value == "" {
		return netip.Addr{}, true
	}
	a, err := netip.ParseAddr(s.Value)
	if err != nil {
		c.fault(s, "%q is no address; for a network write: %s in cidr(%[1]q)", s.Value, beside)
		return a, false
	}
	return a.Unmap().WithZone(""), true
}

// never reports a text that a field can never be.
func (c *compiler[T]) never(named, literal ast.Node, v compiled[T]) {
	s, ok := literal.(*ast.StringNode)
	if ok && v.values != nil && s.Value != "" && !slices.Contains(v.values, s.Value) {
		c.wrong(s, s.Value, v.values, "%s is never %q (it is one of %s)", named, s.Value, strings.Join(v.values, ", "))
	}
}

// maxRange bounds the numbers of a range: it is wide enough for ports.
const maxRange = 65_536

// in compiles `x in ...`.
func (c *compiler[T]) in(n *ast.BinaryNode) compiled[T] {
	l := c.build(n.Left)
	switch right := n.Right.(type) {
	case *ast.CallNode:
		return c.within(n.Left, l, right)
	case *ast.ArrayNode:
		return c.among(n.Left, l, right)
	case *ast.BinaryNode:
		return c.ranged(n.Left, l, right)
	case *ast.IdentifierNode, *ast.MemberNode:
		r := c.field(right)
		if r.ok && r.kind != List {
			c.fault(right, "%s is no list", name(right))
			return compiled[T]{}
		}
		if !r.ok || !c.want(n.Left, l, Text, "in") {
			return compiled[T]{}
		}
		return ofTruth(func(v *T, e string) bool { return slices.Contains(r.list(v, e), l.text(v, e)) })
	}
	c.fault(n.Right, `after in stands a list, a range, cidr("...") or zone("...")`)
	return compiled[T]{}
}

// ranged compiles `x in low..high`: a whole number in the range.
func (c *compiler[T]) ranged(left ast.Node, l compiled[T], right *ast.BinaryNode) compiled[T] {
	low, ok1 := right.Left.(*ast.IntegerNode)
	high, ok2 := right.Right.(*ast.IntegerNode)
	if right.Operator != ".." || !ok1 || !ok2 || low.Value > high.Value || high.Value-low.Value >= maxRange {
		c.fault(right, "a range is two whole numbers, low..high, at most %d apart", maxRange-1)
		return compiled[T]{}
	}
	if !c.want(left, l, Number, "in") {
		return compiled[T]{}
	}
	a, b := float64(low.Value), float64(high.Value)
	return ofTruth(func(v *T, e string) bool {
		x := l.number(v, e)
		return x >= a && x <= b && x == float64(int64(x))
	})
}

// within compiles `address in cidr("10.0.0.0/8")` and `address in zone("dmz")`. A
// side without an address is in no network.
func (c *compiler[T]) within(left ast.Node, l compiled[T], call *ast.CallNode) compiled[T] {
	all, ok := c.prefixes(call)
	if l.ok && l.kind != Address {
		c.fault(left, "only an address is in a network, such as source.ip or destination.ip")
		ok = false
	}
	if !ok || !l.ok {
		return compiled[T]{}
	}
	return ofTruth(func(v *T, e string) bool {
		a := l.address(v, e)
		for _, p := range all {
			if p.Contains(a) {
				return true
			}
		}
		return false
	})
}

// among compiles `x in [...]`.
func (c *compiler[T]) among(left ast.Node, l compiled[T], list *ast.ArrayNode) compiled[T] {
	if !l.ok {
		return compiled[T]{}
	}
	var numbers []float64
	var texts []string
	var addresses []netip.Addr
	before := len(c.faults)
	for _, e := range list.Nodes {
		s, isText := e.(*ast.StringNode)
		switch {
		case l.kind == Address && isText:
			a, _ := c.literalAddress(s, left)
			addresses = append(addresses, a)
		case l.kind == Text && isText:
			c.never(left, s, l)
			texts = append(texts, s.Value)
		case l.kind == Number && literal(e):
			if v := c.element(left, l, e); v.ok {
				numbers = append(numbers, v.number(nil, ""))
			}
		case literal(e):
			c.fault(e, "%s is %s, and %s is none", left, l.kind, e)
		default:
			c.fault(e, "a list holds texts or numbers")
		}
	}
	switch {
	case len(c.faults) > before:
		return compiled[T]{}
	case l.kind == Address:
		return ofTruth(func(v *T, e string) bool { return slices.Contains(addresses, l.address(v, e)) })
	case l.kind == Text && len(texts) > 8:
		set := map[string]struct{}{}
		for _, s := range texts {
			set[s] = struct{}{}
		}
		return ofTruth(func(v *T, e string) bool { _, ok := set[l.text(v, e)]; return ok })
	case l.kind == Text:
		return ofTruth(func(v *T, e string) bool { return slices.Contains(texts, l.text(v, e)) })
	case l.kind == Number:
		slices.Sort(numbers)
		return ofTruth(func(v *T, e string) bool { _, ok := slices.BinarySearch(numbers, l.number(v, e)); return ok })
	}
	c.fault(left, "in takes a text, a number or an address, and %s is %s", left, l.kind)
	return compiled[T]{}
}

// element compiles a number of a list.
func (c *compiler[T]) element(left ast.Node, l compiled[T], e ast.Node) compiled[T] {
	if s, ok := e.(*ast.StringNode); ok {
		return c.quantity(s, l.unit, left)
	}
	v := c.build(e)
	if v.ok && v.kind != Number {
		c.fault(e, "%s is a number, and %s is none", left, e)
		return compiled[T]{}
	}
	return v
}
