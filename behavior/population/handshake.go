package population

import "tidewatch/event"

const (
	// maxHandshakes is how many different handshakes are told apart: sites have some
	// hundreds. Whoever makes up more gets none of his own remembered.
	maxHandshakes = 1 << 14
	// longestHandshake bounds a text of a handshake, in bytes.
	longestHandshake = 64
)

// handshakes remembers what records of TLS said of their connections, for the
// connections' own records. Of two connections with one place the later one has it. It is
// not stored: it is for connections that are open.
type handshakes struct {
	places []handshakePlace // a power of two
	index  map[event.Handshake]uint32
	all    []*event.Handshake
}

type handshakePlace struct {
	key uint64
	at  uint32 // index of all, plus one
}

func newHandshakes(size int) *handshakes {
	if size == 0 {
		return nil
	}
	h := &handshakes{index: map[event.Handshake]uint32{}}
	n := 1
	for n < size {
		n *= 2
	}
	h.places = make([]handshakePlace, n)
	return h
}

// look notes the handshake of a record of TLS, or fills in that of a connection.
func (h *handshakes) look(ev *event.Event, k *event.Known) {
	if ev.UID == "" {
		return
	}
	switch t := ev.TLS; {
	case t != nil && (ev.Kind == event.KindTLS || ev.Kind == event.KindQUIC):
		key := sessionKey(ev)
		if at := h.number(t); at != 0 {
			h.places[key&uint64(len(h.places)-1)] = handshakePlace{key, at}
			k.Handshake = h.all[at-1]
		}
	case ev.Kind == event.KindConn:
		key := sessionKey(ev)
		if p := &h.places[key&uint64(len(h.places)-1)]; p.key == key && p.at != 0 {
			k.Handshake = h.all[p.at-1]
		}
	}
}

// number returns the number of a handshake, from 1; 0 if there is no room.
func (h *handshakes) number(t *event.TLS) uint32 {
	s := event.Handshake{
		Version: t.Version, Cipher: t.Cipher, NextProtocol: t.NextProtocol,
		Resumed: t.Resumed, Established: t.Established, Named: t.ServerName != "",
	}
	if len(s.Version)+len(s.Cipher)+len(s.NextProtocol) > longestHandshake {
		return 0
	}
	if at, ok := h.index[s]; ok {
		return at
	}
	if len(h.all) >= maxHandshakes {
		return 0
	}
	s.Version, s.Cipher, s.NextProtocol = event.Clone(s.Version), event.Clone(s.Cipher), event.Clone(s.NextProtocol)
	h.all = append(h.all, &s)
	h.index[s] = uint32(len(h.all))
	return uint32(len(h.all))
}
