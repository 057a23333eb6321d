package elastic

import "sync"

// pace is how large requests are: they grow by an eighth with each one that went
// well, and shrink, by half at most, by what the server had no room for. It may be used concurrently.
type pace struct {
	mu        sync.Mutex
	docs      int // in a request now
	most      int // documents
	mostBytes int // of one request, as far as the server takes it
}

// fit returns how many of the documents go into one request, at least one.
func (p *pace) fit(docs []doc) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := 0
	for n, d := range docs {
		if size += d.size(); n > 0 && (n >= p.docs || size > p.mostBytes) {
			return n
		}
	}
	return len(docs)
}

// faster is for a request of n documents that went well.
func (p *pace) faster(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n >= p.docs {
		p.docs = min(p.docs+max(p.docs/8, 1), p.most)
	}
}

// slower is for a request of which the server had no room for n documents, or did not
// answer.
func (p *pace) slower(docs []doc, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.docs = max(min(p.docs, len(docs))-n, p.docs/2, 1)
}

// tooLarge is for a request that is larger than the server will ever take.
func (p *pace) tooLarge(docs []doc) {
	size := 0
	for _, d := range docs {
		size += d.size()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mostBytes = max(min(p.mostBytes, size)/2, 1)
}
