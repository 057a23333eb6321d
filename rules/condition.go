package rules

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tidewatch/internal/strict"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	exprfile "github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// condition is a compiled expression over one observation. The zero condition
// matches nothing. It may be used concurrently.
type condition struct{ program *vm.Program }

// matches reports whether the condition holds. The compiler lets nothing through
// that can fail: an error here is a defect of tidewatch, and does not hold.
func (c condition) matches(env map[string]any) (bool, error) {
	if c.program == nil {
		return false, nil
	}
	out, err := expr.Run(c.program, env)
	if err != nil {
		return false, err
	}
	v, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("rules: a condition gave %T", out)
	}
	return v, nil
}

// fault is one thing that is wrong in an expression.
type fault struct {
	line, column int // of the expression: from 1, from 0 in characters
	what         string
	allowed      string
}

// zones are the named networks.
type zones map[string][]netip.Prefix

// compiler compiles the expressions of one detector's rules.
type compiler struct {
	detector string
	zones    zones

	source string
	faults []fault
}

// compile returns a condition, or all that is wrong with it.
//
// What is allowed is listed, not what is forbidden: fields, literals, and the
// operators that cannot fail. There is no indexing, no remainder, no pattern that
// is not a literal, no variable and no nil.
func (c *compiler) compile(source string) (condition, []fault) {
	c.source, c.faults = source, nil
	tree, err := parser.Parse(source)
	if err != nil {
		return condition{}, []fault{located(err)}
	}
	c.check(tree.Node)
	if len(c.faults) > 0 {
		return condition{}, c.faults
	}
	p, err := expr.Compile(source,
		expr.Env(environment(c.detector)), expr.AsBool(), expr.Patch(c),
		expr.Function("within", within, new(func(string, []netip.Prefix) bool)))
	if err != nil {
		return condition{}, []fault{located(err)}
	}
	return condition{p}, nil
}

// located turns the library's error into a fault.
func located(err error) fault {
	var fe *exprfile.Error
	if !errors.As(err, &fe) {
		return fault{line: 1, what: ourWords.Replace(strings.SplitN(err.Error(), "\n", 2)[0])}
	}
	return fault{line: max(fe.Line, 1), column: fe.Column, what: ourWords.Replace(fe.Message)}
}

// ourWords turns the library's names of types into those of the rules' pages.
var ourWords = strings.NewReplacer("bool", "true or false", "float64", "number", "[]string", "list", "string", "text", " int)", " number)", " int ", " number ")

func (c *compiler) fault(n ast.Node, format string, args ...any) {
	e := exprfile.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	c.faults = append(c.faults, located(e.Bind(exprfile.NewSource(c.source))))
}

// check reports what a condition must not hold.
func (c *compiler) check(n ast.Node) {
	switch n := n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
	case *ast.IdentifierNode, *ast.MemberNode:
		c.field(n)
	case *ast.UnaryNode:
		c.check(n.Node)
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.BuiltinNode:
		c.builtin(n)
	case *ast.PredicateNode:
		c.check(n.Node)
	case *ast.PointerNode:
		if n.Name != "" {
			c.fault(n, "#%s is not known here", n.Name)
		}
	case *ast.CallNode:
		c.call(n)
	case *ast.ArrayNode:
		c.fault(n, "a list stands after in")
	default:
		c.fault(n, "conditions are made of fields, literals, operators and the functions %s", strings.Join(functions, ", "))
	}
}

// functions are what a condition may call.
var functions = []string{"cidr", "zone", "any", "all", "none", "len"}

func (c *compiler) builtin(n *ast.BuiltinNode) {
	if !slices.Contains(functions, n.Name) {
		c.fault(n, "function %s is not among %s", n.Name, strings.Join(functions, ", "))
		return
	}
	for _, a := range n.Arguments {
		c.check(a)
	}
}

func (c *compiler) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	switch {
	case !ok:
		c.fault(n, "only functions can be called: %s", strings.Join(functions, ", "))
	case callee.Value == "cidr" || callee.Value == "zone":
		c.fault(n, `%s stands after in: source.ip in %[1]s("...")`, callee.Value)
	default:
		c.fault(n, "unknown function %s%s", callee.Value, strict.Nearest(callee.Value, functions))
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

// field returns the field that a node names. A node that should name one and does
// not is a fault.
func (c *compiler) field(n ast.Node) (field, bool) {
	s := name(n)
	f, ok := fieldsOf[c.detector][s]
	switch {
	case ok:
	case s == "":
		c.fault(n, "this is no field, and lists have no index")
	default:
		where := n
		for m, ok := where.(*ast.MemberNode); ok; m, ok = where.(*ast.MemberNode) {
			where = m.Node // point at the beginning of the name
		}
		c.fault(where, "unknown name %s%s", s, strict.Nearest(s, fieldNames(c.detector)))
		c.faults[len(c.faults)-1].allowed = fieldList(c.detector, s)
	}
	return f, ok
}

func (c *compiler) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "in":
		c.in(n)
	case "matches":
		c.check(n.Left)
		if _, ok := n.Right.(*ast.StringNode); !ok {
			c.fault(n.Right, "the pattern after matches is a text in quotes")
		}
	case "==", "!=":
		c.check(n.Left)
		c.check(n.Right)
		c.literal(n.Left, n.Right)
		c.literal(n.Right, n.Left)
	case "and", "&&", "or", "||", "<", "<=", ">", ">=", "+", "-", "*", "/", "contains", "startsWith", "endsWith":
		c.check(n.Left)
		c.check(n.Right)
	default:
		c.fault(n, "operator %s is not for conditions", n.Operator)
	}
}

// literal reports a text that a field can never be.
func (c *compiler) literal(named, literal ast.Node) {
	f, ok := fieldsOf[c.detector][name(named)]
	s, text := literal.(*ast.StringNode)
	if !ok || !text {
		return
	}
	if f.kind == address {
		if _, err := netip.ParseAddr(s.Value); err != nil && s.Value != "" {
			c.fault(s, "%q is no address; for a network write: %s in cidr(%[1]q)", s.Value, name(named))
		}
	}
	if f.values != nil && s.Value != "" && !slices.Contains(f.values, s.Value) {
		c.fault(s, "%s is never %q%s (it is one of %s)", name(named), s.Value, strict.Nearest(s.Value, f.values), strings.Join(f.values, ", "))
	}
}

// maxRange bounds the numbers of a range: the library makes a list of them.
const maxRange = 65_536

func (c *compiler) in(n *ast.BinaryNode) {
	c.check(n.Left)
	switch right := n.Right.(type) {
	case *ast.CallNode:
		c.network(n.Left, right)
	case *ast.ArrayNode:
		c.among(n.Left, right)
	case *ast.BinaryNode:
		low, ok1 := right.Left.(*ast.IntegerNode)
		high, ok2 := right.Right.(*ast.IntegerNode)
		if right.Operator != ".." || !ok1 || !ok2 || low.Value > high.Value || high.Value-low.Value >= maxRange {
			c.fault(right, "a range is two whole numbers, low..high, at most %d apart", maxRange-1)
		}
	case *ast.IdentifierNode, *ast.MemberNode:
		if f, ok := c.field(right); ok && f.kind != list {
			c.fault(right, "%s is no list", name(right))
		}
	default:
		c.fault(right, `after in stands a list, a range, cidr("...") or zone("...")`)
	}
}

// among checks the list after in.
func (c *compiler) among(left ast.Node, list *ast.ArrayNode) {
	f, ok := fieldsOf[c.detector][name(left)]
	for _, e := range list.Nodes {
		switch e.(type) {
		case *ast.StringNode:
			if ok && (f.kind == number || f.kind == truth) {
				c.fault(e, "%s is not a text", name(left))
			}
			c.literal(left, e)
		case *ast.IntegerNode, *ast.FloatNode:
			if ok && f.kind != number {
				c.fault(e, "%s is not a number", name(left))
			}
		default:
			c.fault(e, "a list holds texts or numbers")
		}
	}
}

// network checks `address in cidr("10.0.0.0/8")` and `address in zone("dmz")`.
func (c *compiler) network(left ast.Node, call *ast.CallNode) {
	if _, err := c.prefixes(call); err != nil {
		c.fault(call, "%s", err)
	}
	if f, ok := fieldsOf[c.detector][name(left)]; ok && f.kind != address {
		c.fault(left, "%s is no address; source.ip and destination.ip are", name(left))
	} else if !ok {
		c.fault(left, "only an address is in a network: source.ip, destination.ip")
	}
}

// prefixes returns the networks that a call of cidr or zone stands for.
func (c *compiler) prefixes(call *ast.CallNode) ([]netip.Prefix, error) {
	callee := name(call.Callee)
	if callee != "cidr" && callee != "zone" {
		return nil, fmt.Errorf("unknown function %s%s", callee, strict.Nearest(callee, functions))
	}
	var all []netip.Prefix
	for _, a := range call.Arguments {
		s, ok := a.(*ast.StringNode)
		switch {
		case !ok:
			return nil, fmt.Errorf("%s takes texts in quotes", callee)
		case callee == "cidr":
			p, err := network(s.Value)
			if err != nil {
				return nil, fmt.Errorf("%q is no network; write one such as 10.0.0.0/8", s.Value)
			}
			all = append(all, p)
		default:
			z, ok := c.zones[s.Value]
			if !ok {
				names := slices.Sorted(maps.Keys(c.zones))
				return nil, fmt.Errorf("no zone %q is declared%s", s.Value, cmp.Or(strict.Nearest(s.Value, names), fmt.Sprintf("; write [zone] %s = [\"10.1.2.0/24\"]", s.Value)))
			}
			all = append(all, z...)
		}
	}
	if len(call.Arguments) == 0 {
		return nil, fmt.Errorf("%s takes a text in quotes", callee)
	}
	return all, nil
}

// Visit rewrites what the library does not know: addresses that are compared with
// a text take the form that observations have, and `x in cidr("...")` becomes a
// call with networks that are read already. It is not for callers.
func (c *compiler) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	if !ok {
		return
	}
	switch right := n.Right.(type) {
	case *ast.CallNode:
		if p, err := c.prefixes(right); err == nil && n.Operator == "in" {
			ast.Patch(node, &ast.CallNode{
				Callee:    &ast.IdentifierNode{Value: "within"},
				Arguments: []ast.Node{n.Left, &ast.ConstantNode{Value: p}},
			})
		}
	case *ast.ArrayNode:
		for _, e := range right.Nodes {
			c.canonical(n.Left, e)
		}
	default:
		c.canonical(n.Left, n.Right)
		c.canonical(n.Right, n.Left)
	}
}

// canonical gives an address literal the form that netip writes.
func (c *compiler) canonical(named, literal ast.Node) {
	s, ok := literal.(*ast.StringNode)
	if !ok || fieldsOf[c.detector][name(named)].kind != address {
		return
	}
	if a, err := netip.ParseAddr(s.Value); err == nil {
		s.Value = a.Unmap().String()
	}
}

// within reports whether an address is in one of some networks. A side without an
// address is in none.
func within(args ...any) (any, error) {
	a, err := netip.ParseAddr(args[0].(string))
	if err != nil {
		return false, nil
	}
	return slices.ContainsFunc(args[1].([]netip.Prefix), func(p netip.Prefix) bool { return p.Contains(a) }), nil
}

// network reads an address or a network.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
