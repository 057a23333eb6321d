package population

import (
	"fmt"
	"strings"
	"testing"

	"tidewatch/event"
)

// Handshakes that nobody has seen before find room up to a bound; long ones none. The
// memory stays what it is.
func TestHandshakesAreBounded(t *testing.T) {
	h := newHandshakes(1 << 10)
	look := func(kind event.Kind, uid string, tls *event.TLS) *event.Handshake {
		ev := &event.Event{Kind: kind, Sensor: event.SensorZeek, UID: uid, TLS: tls}
		var k event.Known
		h.look(ev, &k)
		return k.Handshake
	}
	for i := range 3 * maxHandshakes {
		look(event.KindTLS, fmt.Sprint("C", i), &event.TLS{Version: "TLSv12", NextProtocol: fmt.Sprint("p", i)})
	}
	if len(h.all) != maxHandshakes || len(h.index) != maxHandshakes || len(h.places) != 1<<10 {
		t.Errorf("%d handshakes, %d places", len(h.all), len(h.places))
	}
	if got := look(event.KindTLS, "CA", &event.TLS{Version: "TLSv12", NextProtocol: strings.Repeat("x", 100)}); got != nil {
		t.Errorf("a long one: %+v", got)
	}
	want := event.Handshake{Version: "TLSv12", NextProtocol: "p7"}
	look(event.KindTLS, "CB", &event.TLS{Version: "TLSv12", NextProtocol: "p7"})
	if got := look(event.KindConn, "CB", nil); got == nil || *got != want {
		t.Errorf("of the connection: %+v", got)
	}
	if got := look(event.KindConn, "CC", nil); got != nil {
		t.Errorf("of another connection: %+v", got)
	}
}
