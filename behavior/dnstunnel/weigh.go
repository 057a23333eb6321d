package dnstunnel

import (
	"fmt"
	"math"
	"slices"

	"tidewatch/behavior/phrase"
	"tidewatch/event"
)

// measures are what a candidate is judged by, at one record.
type measures struct {
	bytes1h, bytes24h    float64 // of new sub-names
	novelty              float64 // new sub-names a question, 0 to 1
	name, label, longest float64 // bytes: means of sub-names and labels, the longest label
	encoded              float64 // mean log-likelihood ratio of a character: encoded data against a host's name
	entropy              float64 // bits a character
	text, carrier        float64 // shares of types: TXT; NULL, CNAME, MX, SRV and what nobody asks for
	answer               float64 // mean bytes of an answer
	nx                   float64 // share of the answers
	ttl                  float64 // mean seconds; -1 if there are none
	addresses, searched  float64 // shares of the names
	direct               float64 // 1: a server outside is asked about this domain only
	resolver             float64 // 1: the host asks for others
	hosts, population    float64 // hosts that ask for the domain, hosts that there are
	rank                 float64 // in the list of popular domains, 0: not in it
	class                float64 // event.Class of the domain
}

// all returns each measure's place, for the stored form.
func (m *measures) all() [21]*float64 {
	return [...]*float64{
		&m.bytes1h, &m.bytes24h, &m.novelty, &m.name, &m.label, &m.longest, &m.encoded, &m.entropy, &m.text, &m.carrier, &m.answer,
		&m.nx, &m.ttl, &m.addresses, &m.searched, &m.direct, &m.resolver, &m.hosts, &m.population, &m.rank, &m.class,
	}
}

// serverHosts are how many hosts ask a server at most that is an intruder's.
const serverHosts = 2

// measure takes the measures of a candidate at a record of it.
func (c *candidate) measure(ev *event.Event, h *host) measures {
	r := &c.recent
	names, looked, answers, far := r[countNames], r.looked(), r.answers(), ev.Far()
	m := measures{
		bytes1h: c.hour.sum(), bytes24h: c.day.sum(),
		novelty: min(per(names, r.questions()), 1),
		name:    per(r[countBytes], names), longest: float64(c.longest),
		text:   per(r[countType+typeTXT], looked),
		answer: per(r[countAnswerBytes], answers), nx: per(r[countNX], answers), ttl: -1,
		addresses: per(r[countAddresses], looked), searched: per(r[countSearched], looked),
		hosts: float64(far.OfDomain.Hosts), population: float64(far.Hosts), rank: float64(far.Rank), class: float64(far.Class),
	}
	for _, t := range [...]int{typeNULL, typeCNAME, typeMX, typeSRV, typeOther} {
		m.carrier += per(r[countType+t], looked)
	}
	if r[countTTLs] > 0 {
		m.ttl = per(r[countTTLSum], r[countTTLs])
	}
	chars := 0.0
	m.encoded, m.entropy, chars = spell(&c.chars)
	m.label = per(chars, r[countLabels])
	switch {
	case ev.Time < h.resolver:
		m.resolver = 1
	case far.Addr.Hosts <= serverHosts && h.only(ev.Resp.Hash, c.key):
		m.direct = 1
	}
	return m
}

// alnumShare and hexShare are the shares of characters in encoded data: letters and
// digits alike, or hexadecimal ones alone. What no host is called is data.
var alnumShare, hexShare = encodings()

func encodings() (alnum, hex [numChars]float64) {
	for c := range numChars {
		alnum[c], hex[c] = 1.0/36, 0.0005
		if c < 6 || c >= 26 && c < 36 {
			hex[c] = 1.0 / 16
		}
	}
	alnum[charHyphen], alnum[charUnderscore], alnum[charOther] = 0.002, 0.002, 0.3
	return alnum, hex
}

// spell returns the mean log-likelihood ratio of the better of two encodings against
// hostChars, in nats a character, the entropy in bits, and how many there are. Measured: sub-names of hosts
// -0.7 to 0.1 (those with numbers), base32 0.39, hexadecimal digits 1.4.
func spell(chars *[numChars]float64) (encoded, entropy, total float64) {
	alnum, hex := 0.0, 0.0
	for c, n := range chars {
		if n > 0 {
			total += n
			alnum += n * alnumRatio[c]
			hex += n * hexRatio[c]
			entropy -= n * math.Log2(n)
		}
	}
	if total < 1 {
		return 0, 0, total
	}
	return max(alnum, hex) / total, max(entropy/total+math.Log2(total), 0), total
}

var alnumRatio, hexRatio = ratios(alnumShare), ratios(hexShare)

func ratios(share [numChars]float64) (r [numChars]float64) {
	for c := range r {
		r[c] = math.Log(1000 * share[c] / hostChars[c])
	}
	return r
}

// The terms of the log-odds.
const (
	termPrior = iota
	termVolume
	termNovelty
	termEncoding
	termLength
	termTypes
	termAnswers
	termShape
	termPrevalence
	termRank
	termClass
	termServer
	numTerms
)

var termNames = [numTerms]string{"prior", "volume", "novelty", "encoding", "length", "types", "answers", "shape", "prevalence", "rank", "class", "server"}

// Terms returns the names of all terms but the prior, as Config.Without takes them.
func Terms() []string { return slices.Clone(termNames[1:]) }

// terms are natural logarithms of how much likelier each thing is of a tunnel than of
// harmless names. Their sum is the log-odds.
type terms [numTerms]float64

func (t *terms) sum() (total float64) {
	for _, w := range t {
		total += w
	}
	return total
}

// weigh judges measures. The weights are judgements, tuned on recorded and made
// traffic; each is bounded, so that no single thing convicts or acquits.
func (cfg *Config) weigh(m *measures) (t terms) {
	t[termPrior] = -6 // of the domains that get this far, one in 400
	hour, day := m.bytes1h/float64(cfg.Bytes1h), m.bytes24h/float64(cfg.Bytes24h)
	t[termVolume] = clip(4+2*math.Log(max(hour, day, 1e-3)), -4, 8)
	t[termNovelty] = clip(4.5*m.novelty-3, -3, 1.5)
	t[termEncoding] = clip(10*(m.encoded-0.15), -2, 3)
	t[termLength] = clip(1.5*math.Log(max(m.name, 1)/20), -2, 2.5)
	t[termTypes] = 1.5*m.text + 3*m.carrier - 0.3*max(1-m.text-m.carrier, 0)
	t[termAnswers] = (m.text + m.carrier) * clip(math.Log(max(m.answer, 1)/50), 0, 1)
	if m.ttl >= 0 && m.ttl < 10 {
		t[termAnswers] += 0.5
	}
	t[termAnswers] -= 0.5 * m.nx
	t[termShape] = -5*m.addresses - 4*m.searched
	switch {
	case m.hosts > 2:
		t[termPrevalence] = clip(-1.5*math.Log2(m.hosts/2), -6, 0)
	case m.hosts == 1 && m.population >= 10:
		t[termPrevalence] = 1
	}
	if m.rank > 0 {
		t[termRank] = min(0.5*math.Log10(m.rank)-4, -0.5)
	}
	if !suspect(event.Class(m.class)) {
		t[termClass] = -1 // anybody can call himself so
		if m.hosts > 2 || m.rank > 0 {
			t[termClass] = -3
		}
	}
	t[termServer] = 2*m.direct - 1.5*m.resolver
	if cfg.Without != "" {
		if i := slices.Index(termNames[:], cfg.Without); i >= 0 {
			t[i] = 0
		}
	}
	return t
}

// suspect reports whether a class of service says nothing against a tunnel. All names
// are asked of name servers.
func suspect(c event.Class) bool { return c == event.ClassNone || c == event.ClassName }

func clip(v, low, high float64) float64 { return min(max(v, low), high) }

// probability turns log-odds into a probability.
func probability(logOdds float64) float64 { return 1 / (1 + math.Exp(-logOdds)) }

// explain says what each term rests on.
func (cfg *Config) explain(m *measures) []event.Evidence {
	t := cfg.weigh(m)
	hour, day := t[termVolume], 0.0 // the two are one term: the stronger counts
	if m.bytes24h/float64(cfg.Bytes24h) > m.bytes1h/float64(cfg.Bytes1h) {
		hour, day = day, hour
	}
	all := []event.Evidence{
		say("subname_bytes_1h", m.bytes1h, float64(cfg.Bytes1h), "B", hour, "%s of names that the host had not asked for before, within an hour", phrase.Bytes(m.bytes1h)),
		say("subname_bytes_24h", m.bytes24h, float64(cfg.Bytes24h), "B", day, "%s of such names within a day", phrase.Bytes(m.bytes24h)),
		say("novelty", m.novelty, 0.5, "", t[termNovelty], "%.0f %% of the questions are for a name that was not asked for before", 100*m.novelty),
		say("encoded", m.encoded, -0.4, "nats", t[termEncoding], "each character is e^%.2f times as likely from encoded data as from a host's name", m.encoded),
		say("mean_name", m.name, 10, "B", t[termLength], "a name has %.0f bytes before the domain", m.name),
		say("types", m.text+m.carrier, 0.05, "", t[termTypes], "%.0f %% of the names are asked for with types that carry data", 100*(m.text+m.carrier)),
		say("answer", m.answer, 50, "B", t[termAnswers], "an answer has %.0f bytes; %.0f %% say that there is no such name", m.answer, 100*m.nx),
		say("prior", 0, 0, "", t[termPrior], "of the domains that are looked at, few are tunnels"),
	}
	// What says nothing is left out.
	if t[termShape] != 0 {
		all = append(all, say("shape", max(m.addresses, m.searched), 0, "", t[termShape], "%.0f %% of the names are addresses, as block lists are asked, and %.0f %% whole names with the network's domain behind", 100*m.addresses, 100*m.searched))
	}
	if t[termPrevalence] != 0 {
		all = append(all, say("prevalence", m.hosts, 1, "hosts", t[termPrevalence], "%.0f of %.0f hosts ask for the domain", m.hosts, m.population))
	}
	if t[termRank] != 0 {
		all = append(all, say("rank", m.rank, 0, "", t[termRank], "the domain is number %.0f of the popular ones", m.rank))
	}
	if t[termClass] != 0 {
		all = append(all, say("class", 1, 0, "", t[termClass], "the domain is known for %s", event.Class(m.class)))
	}
	if t[termServer] != 0 {
		text := "a server outside is asked, and about this domain only"
		if m.resolver != 0 {
			text = "the host asks for others"
		}
		all = append(all, say("server", m.direct, 0, "", t[termServer], "%s", text))
	}
	return all
}

func say(feature string, observed, expected float64, unit string, weight float64, format string, args ...any) event.Evidence {
	return event.Evidence{
		Feature: "dns_tunnel." + feature, Observed: phrase.Round2(observed), Expected: expected, Unit: unit,
		Weight: phrase.Round2(weight), Text: fmt.Sprintf(format, args...),
	}
}
