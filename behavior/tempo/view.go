package tempo

// view is a histogram without its empty bins.
type view struct {
	bin   [numBins]uint8
	count [numBins]float32
	cum   [numBins + 1]int32 // of the histogram: gaps below each bin
	len   int
	gaps  int
	mid   int // bin of the median
}

// reset empties the view.
func (v *view) reset() { v.len, v.gaps = 0, 0 }

// put adds a bin above those that are there.
func (v *view) put(bin uint8, count float32) {
	v.bin[v.len], v.count[v.len] = bin, count
	v.len++
}

// finish adds up what was put.
func (v *view) finish() {
	n, b := int32(0), 0
	for i := range v.len {
		for ; b <= int(v.bin[i]); b++ {
			v.cum[b] = n
		}
		n += int32(v.count[i])
	}
	for ; b <= numBins; b++ {
		v.cum[b] = n
	}
	v.gaps, v.mid = int(n), 0
	for i := range v.len {
		if b := v.bin[i]; 2*v.cum[b] < n {
			v.mid = int(b)
		}
	}
}

func (v *view) load(h *histogram) {
	v.reset()
	for b, c := range h {
		if c > 0 {
			v.put(uint8(b), float32(c))
		}
	}
	v.finish()
}

// recent returns the gaps of the ring.
func (t *Track) recent() (h histogram) {
	for _, ms := range t.since[1:t.held] {
		h[binOf(int64(ms))]++
	}
	return h
}

// in returns how many gaps lie in the bins from lo to hi.
func (v *view) in(lo, hi int) int {
	lo, hi = min(max(lo, 0), numBins), min(max(hi+1, 0), numBins)
	return int(v.cum[hi] - v.cum[lo])
}

// likelihood returns the log-likelihood of the gaps under a template of a scale,
// with one of the contaminations.
func (v *view) likelihood(t *template, mixture, scale int) float32 {
	p := (*[256]float32)(t.log[mixture][tableZero-scale:])
	bins, counts := v.bin[:v.len], v.count[:v.len]
	var a, b float32
	for ; len(bins) > 1 && len(counts) > 1; bins, counts = bins[2:], counts[2:] {
		a += counts[0] * p[bins[0]]
		b += counts[1] * p[bins[1]]
	}
	if len(bins) > 0 && len(counts) > 0 {
		a += counts[0] * p[bins[0]]
	}
	return a + b
}

// densest returns where the window of that many bins begins that holds the most
// gaps. They lie in its middle.
func (v *view) densest(width int) int {
	at, most := 0, int32(-1)
	for _, b := range v.bin[:v.len] {
		if n := v.cum[min(int(b)+width, numBins)] - v.cum[b]; n > most {
			at, most = int(b), n
		}
	}
	end := min(at+width, numBins) - 1
	for end > at && v.cum[end+1] == v.cum[end] {
		end--
	}
	return (at + end - width + 1) / 2
}

// concentrated reports whether some windowBins neighbouring bins hold more than a
// share of all gaps.
func (h *histogram) concentrated(share float64) bool {
	sum, most, all := 0, 0, 0
	for i, c := range h {
		sum += int(c)
		all += int(c)
		if i >= windowBins {
			sum -= int(h[i-windowBins])
		}
		most = max(most, sum)
	}
	return float64(most) > share*float64(all)
}

// apart is the least share of the variance of the logarithm of gaps that lies
// between short and long ones if they are two things. A normal distribution has
// 0.64, a uniform one 0.75.
const apart = 0.64

// split divides the gaps into short and long so that the two differ most (Otsu
// 1979). It is false if they do not differ much.
func (v *view) split(short, long *view) bool {
	sum, squares := float32(0), float32(0)
	for i := range v.len {
		b := float32(v.bin[i])
		sum += v.count[i] * b
		squares += v.count[i] * b * b
	}
	at, best := 0, float32(-1)
	n, below := float32(0), float32(0)
	for i := range v.len - 1 {
		n += v.count[i]
		below += v.count[i] * float32(v.bin[i])
		rest := float32(v.gaps) - n
		d := below/n - (sum-below)/rest
		if s := n * rest * d * d; s > best {
			at, best = i+1, s
		}
	}
	n = float32(v.gaps)
	if best/n < apart*(squares-sum*sum/n) {
		return false
	}
	short.reset()
	long.reset()
	for i := range v.len {
		to := short
		if i >= at {
			to = long
		}
		to.put(v.bin[i], v.count[i])
	}
	short.finish()
	long.finish()
	return true
}
