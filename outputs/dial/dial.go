// Package dial says how outputs reach servers: whom they trust, through which proxy,
// and when they try again.
package dial

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Trust says whom we trust. The zero Trust leaves it to the system's authorities.
type Trust struct {
	// CAFile holds certificates, in PEM, of which one must have signed the server's.
	// CAFingerprint is the SHA-256 of a certificate that the server must present, in
	// hexadecimal.
	CAFile        string `toml:"ca_file"`
	CAFingerprint string `toml:"ca_fingerprint"`
}

// CheckTrust reports what is wrong with it.
func (t *Trust) CheckTrust(bad func(key, what, allowed string)) {
	if t.CAFile != "" && t.CAFingerprint != "" {
		bad("ca_fingerprint", "ca_file and ca_fingerprint", "one of them")
	}
	if t.CAFingerprint != "" {
		if _, err := fingerprint(t.CAFingerprint); err != nil {
			bad("ca_fingerprint", err.Error(), "64 hexadecimal digits: the SHA-256 of a certificate")
		}
	}
}

// TLS returns the settings of a client that trusts so.
func (t *Trust) TLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
	}
	if t.CAFingerprint != "" {
		sum, err := fingerprint(t.CAFingerprint)
		if err != nil {
			return nil, err
		}
		pin(c, sum)
	}
	return c, nil
}

// pin accepts exactly the servers whose own certificate has the fingerprint, or whose
// chain leads to one that has it. The name in the server's certificate is not looked
// at: whoever holds the key of a pinned certificate is meant.
func pin(c *tls.Config, sum [32]byte) {
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error {
		for i, cert := range s.PeerCertificates {
			if sha256.Sum256(cert.Raw) != sum {
				continue
			}
			if i == 0 {
				return nil
			}
			// An authority: presenting its certificate proves nothing, its
			// signature does.
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(cert)
			for _, c := range s.PeerCertificates[1:i] {
				between.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		}
		return errors.New("the server presents no certificate with the fingerprint of ca_fingerprint")
	}
}

// fingerprint reads a SHA-256, with or without colons.
func fingerprint(s string) ([32]byte, error) {
	var sum [32]byte
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("a fingerprint that is no SHA-256")
	}
	return [32]byte(b), nil
}

// HTTP says how requests over HTTP go.
type HTTP struct {
	Trust
	// Proxy is the URL of a proxy, or "none". Without it the environment decides
	// (HTTPS_PROXY, NO_PROXY).
	Proxy string `toml:"proxy"`
}

// CheckHTTP reports what is wrong with it.
func (h *HTTP) CheckHTTP(bad func(key, what, allowed string)) {
	h.CheckTrust(bad)
	if h.Proxy != "" && h.Proxy != "none" {
		if _, err := URL(h.Proxy); err != nil {
			bad("proxy", err.Error(), `the URL of a proxy, without a password (the environment may hold one), or "none"`)
		}
	}
}

// Transport returns a transport for requests that take as long as timeout, of which as
// many are idle at a time.
func (h *HTTP) Transport(timeout time.Duration, idle int) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: timeout,
		MaxIdleConnsPerHost:   idle,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true,
	}
	switch h.Proxy {
	case "":
		t.Proxy = http.ProxyFromEnvironment
	case "none":
	default:
		u, err := URL(h.Proxy)
		if err != nil {
			return nil, err
		}
		t.Proxy = http.ProxyURL(u)
	}
	var err error
	t.TLSClientConfig, err = h.TLS()
	return t, err
}

// URL reads the address of a server. Its error does not show what may be a password.
func URL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("an address that is no URL")
	case u.User != nil:
		return nil, errors.New("an address with a password in it")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("address %q", s)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}
