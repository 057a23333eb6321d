package sigma

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"tidewatch/internal/strict"
)

// tokens splits a condition into words and parentheses.
func tokens(s string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
}

// maxNesting bounds the parentheses of a condition.
const maxNesting = 100

// condition reads `sel and not (1 of filter_*)`: or binds least, then and, then not.
type condition struct {
	t        *translation
	line     int
	searches map[string]string
	tokens   []string
	depth    int
	failed   bool
}

func (c *condition) fail(format string, args ...any) string {
	if !c.failed {
		c.t.problem(c.line, "condition: "+fmt.Sprintf(format, args...), "and, or, not, parentheses, names of searches, 1 of NAME*, all of NAME*, 1 of them, all of them")
	}
	c.failed, c.tokens = true, nil
	return "false"
}

func (c *condition) whole() string {
	s := c.or()
	if len(c.tokens) > 0 {
		return c.fail("%q is too much", c.tokens[0])
	}
	return s
}

// next takes a word if it is there, in either case.
func (c *condition) next(word string) bool {
	if len(c.tokens) == 0 || !strings.EqualFold(c.tokens[0], word) {
		return false
	}
	c.tokens = c.tokens[1:]
	return true
}

func (c *condition) or() string {
	parts := []string{c.and()}
	for c.next("or") {
		parts = append(parts, c.and())
	}
	return joined(parts, " or ")
}

func (c *condition) and() string {
	parts := []string{c.not()}
	for c.next("and") {
		parts = append(parts, c.not())
	}
	return joined(parts, " and ")
}

func (c *condition) not() string {
	if c.next("not") {
		return "not (" + c.not() + ")"
	}
	return c.operand()
}

func (c *condition) operand() string {
	switch {
	case len(c.tokens) == 0:
		return c.fail("it ends too early")
	case c.next("("):
		if c.depth++; c.depth > maxNesting {
			return c.fail("too many parentheses")
		}
		s := c.or()
		if !c.next(")") {
			return c.fail("a parenthesis is not closed")
		}
		c.depth--
		return s
	}
	word := c.tokens[0]
	c.tokens = c.tokens[1:]
	if len(c.tokens) > 0 && strings.EqualFold(c.tokens[0], "of") {
		c.tokens = c.tokens[1:]
		return c.of(word)
	}
	s, ok := c.searches[word]
	if !ok {
		return c.fail("there is no search %q%s", word, strict.Nearest(word, slices.Sorted(maps.Keys(c.searches))))
	}
	return s
}

// of reads what follows `1 of` and `all of`.
func (c *condition) of(quantity string) string {
	operator := map[string]string{"1": " or ", "any": " or ", "all": " and "}[strings.ToLower(quantity)]
	if operator == "" || len(c.tokens) == 0 {
		return c.fail("%q of what?", quantity)
	}
	pattern := c.tokens[0]
	c.tokens = c.tokens[1:]
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.searches)) {
		if ok, _ := path.Match(pattern, name); ok || strings.EqualFold(pattern, "them") && !strings.HasPrefix(name, "_") {
			parts = append(parts, c.searches[name])
		}
	}
	if len(parts) == 0 {
		return c.fail("no search is called %q", pattern)
	}
	return joined(parts, operator)
}
