package rules

import (
	"errors"
	"fmt"

	"tidewatch/event"
	"tidewatch/internal/strict"
	"tidewatch/rules/condition"
)

// Filter compiles a condition on records, in the language of rules over records, with the
// zones of the set. The function may be called concurrently. The error names all that is
// wrong.
func (s *Set) Filter(source string) (func(*event.Event) bool, error) {
	c, faults := condition.Compile(source, recordTable, s.zoneNetworks)
	var errs []error
	for _, f := range faults {
		near, allowed := f.Among, ""
		if f.Wrong != "" && near == nil {
			near, allowed = recordNamesSorted, "; known are "+listNames(recordNamesSorted, f.Wrong)
		}
		if f.Wrong != "" {
			f.What += strict.Nearest(f.Wrong, near)
		}
		errs = append(errs, fmt.Errorf("character %d: %s%s", f.Column+1, f.What, allowed))
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return c.Matches, nil
}
