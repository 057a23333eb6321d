package dial

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An address is read, or refused without showing what may be a password.
func TestURL(t *testing.T) {
	f := func(s, want, bad string) {
		t.Helper()
		u, err := URL(s)
		switch {
		case bad != "" && (err == nil || !strings.Contains(err.Error(), bad) || strings.Contains(err.Error(), "swordfish")):
			t.Errorf("%q: %v, want %s", s, err, bad)
		case bad == "" && (err != nil || u.String() != want):
			t.Errorf("%q: %v %v", s, u, err)
		}
	}
	f("https://es.example:9200", "https://es.example:9200", "")
	f("http://[::1]:9200/base/", "http://[::1]:9200/base", "")
	f("https://me:swordfish@es.example", "", "a password in it")
	f("https://me:swordfish@es.example:92 00", "", "no URL")
	f("es.example:9200", "", "address")
	f("ftp://es.example", "", "address")
	f("https://es.example/?a=b", "", "address")
	f("https://", "", "address")
}

// Waits double up to the bound, are at random, and heed the server as far as the bound
// goes.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(b *Backoff, h http.Header) time.Duration {
			t.Helper()
			began := time.Now()
			if err := b.Wait(t.Context(), h); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		b := Backoff{Max: 3 * time.Second}
		for _, span := range []time.Duration{100, 200, 400, 800, 1600, 3000, 3000} {
			if d := wait(&b, nil); d < span*time.Millisecond/2 || d > span*time.Millisecond {
				t.Errorf("%v, want from half of %d ms on", d, span)
			}
		}
		b.Reset()
		if d := wait(&b, nil); d > 100*time.Millisecond {
			t.Errorf("%v after a try that went well", d)
		}
		if d := wait(&Backoff{Max: time.Minute}, http.Header{"Retry-After": {"7"}}); d != 7*time.Second {
			t.Errorf("%v, asked for 7 s", d)
		}
		if d := wait(&Backoff{Max: time.Second}, http.Header{"Retry-After": {"3600"}}); d != time.Second {
			t.Errorf("%v, at most 1 s", d)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := b.Wait(ctx, nil); err != context.Canceled {
			t.Error(err)
		}
	})
}

// Who is not trusted is not talked to; who is pinned need not have the name.
func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	f := func(trust Trust, says string) {
		t.Helper()
		transport, err := (&HTTP{Trust: trust, Proxy: "none"}).Transport(time.Minute, 1)
		if err == nil {
			defer transport.CloseIdleConnections()
			var res *http.Response
			if res, err = (&http.Client{Transport: transport}).Get(server.URL); err == nil {
				_ = res.Body.Close()
			}
		}
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", trust, err, says)
		}
	}
	f(Trust{}, "unknown authority")
	f(Trust{CAFingerprint: strings.Repeat("00", 32)}, "no certificate with the fingerprint")
	f(Trust{CAFile: "dial_test.go"}, "holds no certificate")
	f(Trust{CAFile: "missing.pem"}, "no such file")
}
