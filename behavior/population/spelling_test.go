package population

import (
	"compress/gzip"
	"encoding/csv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"tidewatch/internal/shareddata"
)

// TestSurprise learns from four fifths of the popular names, and tells the rest from names
// that were drawn by lot.
func TestSurprise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var learn []string
	var left []float64
	keep := *popularSpelling()
	defer func() { *popularSpelling() = keep }()
	var rest []string
	for line := range strings.Lines(popularText) {
		switch l := firstLabel(strings.TrimSpace(line)); {
		case l == "" || l[0] == '#' || strings.HasPrefix(l, "xn--"):
		case r.IntN(5) == 0:
			rest = append(rest, l)
		default:
			learn = append(learn, l)
		}
	}
	*popularSpelling() = *learnSpelling(learn)
	for _, l := range rest {
		if s := Surprise(l + ".com"); s != 0 {
			left = append(left, s)
		}
	}
	slices.Sort(left)
	f := func(kind, from string, length int, want float64) {
		t.Helper()
		above := 0
		for range 2000 {
			var b strings.Builder
			for range length {
				b.WriteByte(from[r.IntN(len(from))])
			}
			if Surprise(b.String()+".com") > 5.5 {
				above++
			}
		}
		share := float64(above) / 2000
		t.Logf("%s: %.3f above 5.5 bits", kind, share)
		if share < want {
			t.Errorf("%s: %.3f above 5.5 bits, want %v", kind, share, want)
		}
	}
	at := func(q float64) float64 { return left[int(q*float64(len(left)-1))] }
	t.Logf("%d popular names: median %.2f, 95 %% below %.2f, 99 %% below %.2f", len(left), at(0.5), at(0.95), at(0.99))
	if at(0.95) > 5.5 || at(0.5) > 4 {
		t.Errorf("popular names: median %.2f, 95 %% below %.2f", at(0.5), at(0.95))
	}
	const letters = "abcdefghijklmnopqrstuvwxyz"
	f("8 letters", letters, 8, 0.85)
	f("12 letters", letters, 12, 0.95)
	f("16 letters", letters, 16, 0.97)
	f("16 hexadecimal digits", "0123456789abcdef", 16, 0.99)
	f("14 letters and digits", letters+"0123456789", 14, 0.99)
}

func TestSurpriseOf(t *testing.T) {
	f := func(domain string, low, high float64) {
		t.Helper()
		if s := Surprise(domain); s < low || s > high {
			t.Errorf("%s: %.2f, want %v to %v", domain, s, low, high)
		}
	}
	f("", 0, 0)
	f("bbc.co.uk", 0, 0)             // too short to say anything
	f("xn--bcher-kva.example", 0, 0) // punycode spells nothing
	f("facebook.com", 1, 4)
	f("weatherstation.example", 1, 4.5)
	f("qxkvzjwqpfhg.com", 7, 12)
	f("QXKVZJWQPFHG.com", 7, 12)
	f("\xff\xfe\x00\x01\x02\x03\x04.com", 5, 20)
	if n := testing.AllocsPerRun(100, func() { Surprise("qxkvzjwqpfhg.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSurpriseOfFamilies measures on names that malware made up, and on popular ones.
func TestSurpriseOfFamilies(t *testing.T) {
	f, err := os.Open(shareddata.Path(t, "labelled/dga/train.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all, above := map[string]int{}, map[string]int{}
	for _, row := range rows[1:] { // domain, label, family
		for _, family := range []string{row[2], "label " + row[1]} {
			all[family]++
			if Surprise(row[0]) >= 5.5 {
				above[family]++
			}
		}
	}
	share := func(family string) float64 { return float64(above[family]) / float64(all[family]) }
	most := 0
	for family := range all {
		if family != "alexa" && !strings.HasPrefix(family, "label") && share(family) > 0.5 {
			most++
		}
	}
	t.Logf("5.5 bits or more: %.3f of %d popular domains, %.3f of %d generated ones; most names of %d of %d families",
		share("label 0"), all["label 0"], share("label 1"), all["label 1"], most, len(all)-3)
	if share("label 0") > 0.06 || share("label 1") < 0.75 || most < 40 {
		t.Error("that is not what it was")
	}
}
