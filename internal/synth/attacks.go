package synth

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tidewatch/internal/eval"
)

// instance is an attack that is being planned.
type instance struct {
	*eval.Instance
	level int // 0 easy, 1 medium, 2 hard
	index int // among all
	day   int // on which it begins, from 0
}

var levels = [...]string{"easy", "medium", "hard"}

// pick returns what belongs to the instance's difficulty.
func pick[T any](in *instance, easy, medium, hard T) T { return [...]T{easy, medium, hard}[in.level] }

// never is when a process acts next that is done.
const never = math.MaxInt64

// kinds are the kinds of attack of the grid, with their variants. Easy is loud,
// medium is what tools do that are told to be careful, hard is near what harmless
// hosts do; detectors are expected to miss some of the hard ones.
var kinds = []struct {
	kind     string
	variants []variant
}{
	{"scan", scanVariants},
	{"beacon", beaconVariants},
	{"exfiltration", exfiltrationVariants},
	{"dns_tunnel", tunnelVariants},
	{"dga", dgaVariants},
	{"brute_force", bruteVariants},
	{"long_connection", longVariants},
	{"lateral", lateralVariants},
}

// variant is one way to attack.
type variant struct {
	name string
	plan func(n *Network, in *instance)
}

// attack adds the attacks that Options.Attacks names.
func (n *Network) attack(what string) error {
	switch what {
	case "", "none":
		return nil
	case "story":
		n.story()
		return nil
	}
	names := strings.Split(what, ",")
	for _, name := range names {
		found := name == "grid"
		for _, k := range kinds {
			found = found || k.kind == name
		}
		if !found {
			return fmt.Errorf("attacks %q: allowed are none, story, grid, and kinds of the grid such as scan", name)
		}
	}
	for _, k := range kinds {
		if !slices.Contains(names, k.kind) && !slices.Contains(names, "grid") {
			continue
		}
		for i, v := range k.variants {
			for level := range levels {
				in := n.instance(k.kind, v.name, level)
				// A Latin square: as many seeds as there are days begin each
				// variant in each difficulty once on each day.
				in.day = int((n.opts.Seed + uint64(i+level)) % uint64(n.opts.Days))
				v.plan(n, in)
			}
		}
	}
	return nil
}

// instance adds an attack to the truth; it is there once it has made a record.
func (n *Network) instance(kind, variant string, level int) *instance {
	in := &eval.Instance{ID: kind + "-" + variant + "-" + levels[level], Kind: kind, Detector: kind, Variant: variant, Difficulty: levels[level]}
	n.instances = append(n.instances, in)
	return &instance{Instance: in, level: level, index: len(n.instances)}
}

// takeOver adds a machine with a person at it, and an attacker in it.
func (n *Network) takeOver(in *instance) *host {
	u := n.user()
	u.always = true
	n.blame(in, u)
	return u
}

func (n *Network) blame(in *instance, u *host) {
	in.Sources = append(in.Sources, u.v4.String())
	n.guilty[u.v4] = true
}

// outsider returns an address outside that is the attack's own.
func (in *instance) outsider(k int) netip.Addr { return inNet(evilNet, 24*in.index+k) }

// at returns a time of the instance's day, and a few minutes that are its own.
func (n *Network) at(in *instance, hours float64) int64 {
	own := mix(n.opts.Seed^uint64(in.index)) % uint64(7*time.Minute)
	return n.start + int64(in.day)*dayNs + int64(hours*float64(hourNs)) + int64(own)
}

// lasts says how long an instance goes on: one that needs more than a day begins on
// the first, since the days' end would decide what becomes of it otherwise.
func (in *instance) lasts(d time.Duration) {
	if d > 24*time.Hour {
		in.day = 0
	}
}

// repeat adds a process that does something count times, gap apart on average, each
// gap half to one and a half times as long.
func (n *Network) repeat(in *instance, first int64, count int, gap time.Duration, do func(p *process, i int)) {
	i := 0
	n.spawn(first, in.Instance, func(p *process) int64 {
		if i == count {
			return never
		}
		do(p, i)
		i++
		return p.now + between(p.r, gap/2, gap*3/2)
	})
}

// story is a day of one intrusion. Somebody outside looks around and finds the
// gateway. A host inside calls home, looks for shares, tries those that answer,
// talks through DNS, and sends data out in the evening. Elsewhere a device looks
// for SSH, slowly.
func (n *Network) story() {
	scan := n.instance("scan", "inbound", 0)
	n.scanInbound(scan, n.start+int64(5*time.Hour+12*time.Minute), 3389, 90, 900*time.Millisecond)

	slow := n.instance("scan", "slow", 1)
	n.scanHosts(slow, n.takeOver(slow).v4, n.start+int64(time.Hour+7*time.Minute), 22, 130, 10*time.Minute, 0.04)

	begin := n.start + int64(9*time.Hour+4*time.Minute)
	home := n.instance("beacon", "name", 1)
	victim := n.takeOver(home)
	n.beacon(home, begin, timer{period: 5 * time.Minute, jitter: 0.2, missed: 0.03, name: "cdn-status.example", from: victim, count: 10_000})

	shares := n.instance("scan", "horizontal", 1)
	n.blame(shares, victim)
	n.scanHosts(shares, victim.v4, n.start+int64(10*time.Hour+17*time.Minute), 445, 120, 700*time.Millisecond, 0.1)

	move := n.instance("lateral", "smb", 1)
	n.blame(move, victim)
	n.lateral(move, victim.v4, n.start+int64(10*time.Hour+41*time.Minute), 5, 4*time.Minute, []uint16{445})

	tunnel := n.instance("dns_tunnel", "txt", 0)
	n.blame(tunnel, victim)
	n.tunnel(tunnel, victim, n.start+int64(13*time.Hour+2*time.Minute), channel{zone: "t.metrics-edge.example", kind: "TXT", count: 600, gap: 3 * time.Second, up: 50, down: 120})

	theft := n.instance("exfiltration", "bulk", 0)
	n.blame(theft, victim)
	n.upload(theft, victim.v4, n.start+int64(19*time.Hour+31*time.Minute), "drop-box7.example", theft.outsider(1), 3, 9*time.Minute, 70_000_000)
}
