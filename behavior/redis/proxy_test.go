package redis

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between a client and Redis and does to what is sent what networks do,
// and worse. What it holds back arrives later, when other things have been sent.
type proxy struct {
	addr, server string
	lock         sync.Mutex
	r            *rand.Rand
	every        int    // one piece in so many meets with an accident; 0: none
	held         []held // that the client has given up
	conns        map[net.Conn]bool
	cut, late    int
	twice        int
	down         bool

	seen int // pieces
	left int // pieces until then is called
	then func()
}

// held is a piece that arrives when the proxy has seen so many others.
type held struct {
	due   int
	piece []byte
}

func startProxy(t testing.TB, server string, seed uint64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), server: server, r: rand.New(rand.NewPCG(seed, 7)), conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); p.breakAll() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// set changes how often something happens.
func (p *proxy) set(every int, down bool) {
	p.lock.Lock()
	p.every, p.down = every, down
	p.lock.Unlock()
	if down {
		p.breakAll()
	}
}

// accidents counts them.
func (p *proxy) accidents() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.cut + p.late + p.twice
}

func (p *proxy) breakAll() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.lock.Lock()
	refuse := p.down
	p.conns[client] = true
	p.lock.Unlock()
	defer func() { p.lock.Lock(); delete(p.conns, client); p.lock.Unlock() }()
	if refuse {
		return
	}
	go func() { // answers
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if n > 0 {
				client.Write(b[:n])
			}
			if err != nil {
				client.Close()
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if !p.pass(client, server, b[:n]) {
			return
		}
	}
}

// pass sends one piece on, unless it meets with an accident; then it returns false.
func (p *proxy) pass(client, server net.Conn, piece []byte) bool {
	p.lock.Lock()
	if p.left--; p.left <= 0 && p.then != nil {
		p.then()
		p.then = nil
	}
	if p.down {
		p.lock.Unlock()
		return false
	}
	accident := -1
	if p.every > 0 && p.r.IntN(p.every) == 0 {
		accident = p.r.IntN(5)
	}
	var late []byte
	if p.seen++; len(p.held) > 0 && p.held[0].due <= p.seen {
		late, p.held = p.held[0].piece, p.held[1:]
	}
	switch accident {
	case 1, 2:
		p.cut++
	case 3:
		p.held = append(p.held, held{p.seen + p.r.IntN(60), append([]byte(nil), piece...)})
		p.late++
	case 4:
		p.held = append(p.held, held{p.seen + p.r.IntN(60), append([]byte(nil), piece...)})
		p.twice++
	}
	p.lock.Unlock()
	if late != nil {
		p.again(late)
	}
	switch accident {
	case 0: // lost
		return false
	case 1: // done, and the answer is lost
		client.Close()
		server.Write(piece)
		return false
	case 2: // half of it is done
		client.Close()
		server.Write(piece[:len(piece)/2])
		return false
	case 3: // done long after the client gave up
		return false
	} // 4: done now, and once more later
	_, err := server.Write(piece)
	return err == nil
}

// again sends a piece over a connection of its own, and waits until it is done.
func (p *proxy) again(piece []byte) {
	c, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer c.Close()
	c.Write(piece)
	c.(*net.TCPConn).CloseWrite()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}
