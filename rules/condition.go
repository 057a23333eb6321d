package rules

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	exprfile "github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"tidewatch/event"
)

// condition is a compiled expression over one observation. The zero condition
// matches nothing.
type condition struct{ program *vm.Program }

// matches reports whether the condition holds. An expression that is compiled has
// the right types, and env has a value for each name: it cannot fail. Should it
// fail all the same, it does not hold.
func (c condition) matches(env map[string]any) bool {
	if c.program == nil {
		return false
	}
	out, err := expr.Run(c.program, env)
	if err != nil {
		return false
	}
	v, _ := out.(bool)
	return v
}

// detectors lists the features of each detector, by the names that rules use
// below the detector's name.
var detectors = map[string]map[string]types.Type{
	"scan": {
		"kind": types.String, "shape": types.String,
		"targets": types.Float, "ports": types.Float, "port": types.Float,
		"attempts": types.Float, "failed": types.Float, "rejected": types.Float,
		"answered": types.Float, "answered_hosts": types.Float,
		"failure_rate": types.Float, "rate_per_second": types.Float, "duration_seconds": types.Float,
		"trw_log_ratio": types.Float, "time_to_detect_seconds": types.Float, "failed_contacts_at_detection": types.Float,
		"sources": types.Float, "top_ports": types.Array(types.String), "answered_targets": types.Array(types.String),
	},
}

// fields are the names that every detector's rules have.
var fields = types.Map{
	"source":      types.Map{"ip": types.String, "port": types.Float, "domain": types.String, "local": types.Bool},
	"destination": types.Map{"ip": types.String, "port": types.Float, "domain": types.String, "local": types.Bool},
	"network":     types.Map{"direction": types.String, "transport": types.String, "protocol": types.String, "vlan": types.Float},
	"event":       types.Map{"score": types.Float, "risk_score": types.Float},
	"dns":         types.Map{"question": types.Map{"name": types.String}},
}

func compileCondition(source, detector string, features map[string]types.Type) (condition, error) {
	env := maps.Clone(fields)
	env[detector] = types.Map(features)
	p, err := expr.Compile(source,
		expr.Env(env), expr.AsBool(), expr.DisableAllBuiltins(), expr.Optimize(true),
		expr.Function("cidr", inNetwork, new(func(string, string) bool)),
	)
	if err == nil {
		err = checkNetworks(source)
	}
	if err == nil {
		return condition{p}, nil
	}
	return condition{}, describe(err, detector, features)
}

// describe turns the library's error into one line with the nearest name.
func describe(err error, detector string, features map[string]types.Type) error {
	var fe *exprfile.Error
	if !errors.As(err, &fe) {
		return err
	}
	what := fe.Message
	if m := unknownName.FindStringSubmatch(what); m != nil {
		what += nearest(m[1], allNames(detector, features))
	}
	return fmt.Errorf("column %d of the expression: %s", fe.Column+1, what)
}

var unknownName = regexp.MustCompile(`(?:unknown name|has no field) (\w+)`)

// allNames returns the single names that an expression can hold.
func allNames(detector string, features map[string]types.Type) []string {
	names := []string{detector, "source", "destination", "network", "event", "dns", "ip", "port", "domain", "local", "direction", "transport", "protocol", "score", "risk_score", "cidr"}
	return append(names, slices.Sorted(maps.Keys(features))...)
}

// fieldList says what an expression may name.
func fieldList(detector string, features map[string]types.Type) string {
	names := []string{
		"source.{ip,port,domain,local}", "destination.{ip,port,domain,local}",
		"network.{direction,transport,protocol,vlan}", "event.{score,risk_score}",
		detector + ".{" + strings.Join(slices.Sorted(maps.Keys(features)), ",") + "}", `cidr(source.ip, "10.0.0.0/8")`,
	}
	return strings.Join(names, ", ")
}

// literalNetwork finds the networks that an expression names.
var literalNetwork = regexp.MustCompile(`cidr\([^,]*,\s*["']([^"']*)["']\s*\)`)

// checkNetworks reports a network that cannot be read: at load, not at a match.
func checkNetworks(source string) error {
	for _, m := range literalNetwork.FindAllStringSubmatch(source, -1) {
		if _, err := network(m[1]); err != nil {
			return fmt.Errorf("cidr: %q is no network; write one such as 10.0.0.0/8", m[1])
		}
	}
	return nil
}

// inNetwork is cidr(address, network).
func inNetwork(args ...any) (any, error) {
	a, err := netip.ParseAddr(args[0].(string))
	if err != nil {
		return false, nil // a side without an address is in no network
	}
	p, err := network(args[1].(string))
	return err == nil && p.Contains(a), nil
}

// values returns what an observation's names stand for.
func values(o *event.Observation) map[string]any {
	features := map[string]any{}
	for name, t := range detectors[o.Detector] {
		switch {
		case t == types.String:
			features[name] = ""
		case t == types.Float:
			features[name] = 0.0
		default:
			features[name] = []string(nil)
		}
	}
	for _, f := range o.Features {
		switch f.Type {
		case event.FeatureNumber:
			features[f.Key] = f.Num
		case event.FeatureText:
			features[f.Key] = f.Text
		case event.FeatureBool:
			features[f.Key] = f.Num != 0
		case event.FeatureList:
			features[f.Key] = f.List
		}
	}
	return map[string]any{
		"source":      side(&o.Source),
		"destination": side(&o.Destination),
		"network": map[string]any{
			"direction": o.Direction, "transport": o.Proto.String(), "protocol": o.Application, "vlan": float64(o.VLAN),
		},
		"event":    map[string]any{"score": o.Score, "risk_score": o.Risk},
		"dns":      map[string]any{"question": map[string]any{"name": o.Query}},
		o.Detector: features,
	}
}

func side(e *event.Endpoint) map[string]any {
	m := map[string]any{"ip": "", "port": float64(e.Port), "domain": e.Domain, "local": e.Scope == event.ScopeLocal}
	if e.Addr.IsValid() {
		m["ip"] = e.Addr.String()
	}
	return m
}
