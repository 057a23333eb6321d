package population

import (
	_ "embed"
	"strings"
	"sync"

	"tidewatch/event"
)

// classText is the table of names with their classes: a class and a suffix of names
// a line, or a first label and ".*".
//
//go:embed class.txt
var classText string

// classes are the lines of classText.
type classes struct {
	suffixes, labels map[string]event.Class
}

var known = sync.OnceValue(func() *classes {
	c := &classes{map[string]event.Class{}, map[string]event.Class{}}
	for line := range strings.Lines(classText) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Fields(line)
		class := classNamed(f[0])
		for _, s := range f[1:] {
			if label, ok := strings.CutSuffix(s, ".*"); ok {
				c.labels[label] = class
			} else {
				c.suffixes[s] = class
			}
		}
	}
	return c
})

// classNamed returns the class with a name; a name that is none is a bug in the table.
func classNamed(s string) event.Class {
	for c := event.ClassTime; c.String() != ""; c++ {
		if strings.ReplaceAll(c.String(), " ", "-") == s {
			return c
		}
	}
	panic("population: class.txt has the unknown class " + s)
}

// classOfName returns the class of the longest suffix of a name that is in the
// table. Whoever chooses what he calls himself can have any class he wants: it is a
// hint, and excuses only what many use or what has long been used.
func classOfName(s string) event.Class {
	c := known()
	for rest := s; ; {
		if class, ok := c.suffixes[rest]; ok {
			return class
		}
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		rest = after
	}
	if label, rest, _ := strings.Cut(s, "."); strings.Contains(rest, ".") {
		return c.labels[label]
	}
	return event.ClassNone
}

// classOfPort returns the class of the responder's port, as IANA assigned it. It is
// as weak a hint as a name.
func classOfPort(ev *event.Event) event.Class {
	udp := ev.Proto == event.ProtoUDP
	if !udp && ev.Proto != event.ProtoTCP {
		return event.ClassNone
	}
	switch ev.Resp.Port {
	case 53, 853, 5353, 5355:
		return event.ClassName
	}
	if !udp {
		return event.ClassNone
	}
	switch ev.Resp.Port {
	case 123, 319, 320:
		return event.ClassTime
	case 137:
		return event.ClassName
	case 67, 68, 546, 547, 1900, 3702, 5351:
		return event.ClassLocal
	}
	return event.ClassNone
}
