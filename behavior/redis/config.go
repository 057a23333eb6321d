package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tidewatch/internal/strict"
)

// Config says where Redis is and how this sensor uses it.
type Config struct {
	// Addresses are host:port of the server, of some nodes of a cluster, or of the
	// sentinels.
	Addresses []string `toml:"addresses"`
	Socket    string   `toml:"socket"`   // path of a unix socket, in place of Addresses
	Cluster   bool     `toml:"cluster"`  // Redis Cluster
	Master    string   `toml:"master"`   // what the sentinels call the primary
	Database  int      `toml:"database"` // 0 in a cluster

	User             string        `toml:"user"` // of the ACL; "" is the default one
	Password         strict.Secret `toml:"password"`
	SentinelUser     string        `toml:"sentinel_user"`
	SentinelPassword strict.Secret `toml:"sentinel_password"`

	TLS         bool   `toml:"tls"`
	CA          string `toml:"ca"`          // file of authorities that are trusted, in place of the system's
	Certificate string `toml:"certificate"` // file of our own certificate, if the server wants one
	Key         string `toml:"key"`
	ServerName  string `toml:"server_name"` // in the server's certificate, if it is not the address

	Sensor string `toml:"sensor"` // name of this sensor, one to each
	Prefix string `toml:"prefix"` // of each key

	TTL      strict.Duration `toml:"ttl"`      // how long a key lives that nobody writes, at least 1 h
	Timeout  strict.Duration `toml:"timeout"`  // to connect, for a write and for an answer
	Share    strict.Duration `toml:"share"`    // how often others are told of an entity, at most
	Replicas int             `toml:"replicas"` // that must have an epoch before it is committed

	// Curator says that the process does not stand for the sensor but changes what it
	// knows: a sidecar that runs waits for Release, and begins anew with what it finds.
	Curator bool         `toml:"-"`
	Log     *slog.Logger `toml:"-"` // nil: nothing is logged
}

// DefaultConfig returns the settings of a Redis on the same machine. The sensor has no
// name yet.
func DefaultConfig() Config {
	return Config{
		Addresses: []string{"127.0.0.1:6379"},
		Prefix:    "tw",
		TTL:       strict.Duration(35 * 24 * time.Hour), // prevalence looks back 30 days
		Share:     strict.Duration(time.Minute),
		Timeout:   strict.Duration(5 * time.Second),
	}
}

// name is what a prefix and a sensor's name may be: nothing in them means anything in
// a key, in a pattern or in a field's name.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate returns everything that is wrong with the settings.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("redis: "+format, args...))
		}
	}
	check(name.MatchString(c.Sensor), "sensor %q: allowed are 1 to 64 letters, digits and ._-, a letter or digit first", c.Sensor)
	check(name.MatchString(c.Prefix), "prefix %q: allowed are 1 to 64 letters, digits and ._-, a letter or digit first", c.Prefix)
	check(c.Socket != "" || len(c.Addresses) > 0, "neither addresses nor socket is set")
	check(c.Socket == "" || !c.Cluster && c.Master == "", "a socket leads to one server: leave out cluster and master")
	check(!c.Cluster || c.Master == "", "cluster and master exclude each other: a cluster needs no sentinels")
	check(!c.Cluster || c.Database == 0, "database %d: a cluster has none but 0", c.Database)
	check(c.Cluster || c.Master != "" || len(c.Addresses) < 2, "several addresses need cluster = true or a master")
	check(c.Database >= 0, "database %d is negative", c.Database)
	check(time.Duration(c.TTL) >= time.Hour, "ttl %v: it is at least 1h", time.Duration(c.TTL))
	check(c.timeout() >= 10*time.Millisecond, "timeout %v: it is at least 10ms", c.timeout())
	check(c.Replicas >= 0 && c.Replicas < 16, "replicas %d: allowed are 0 to 15", c.Replicas)
	check(c.TLS || c.CA == "" && c.Certificate == "" && c.Key == "" && c.ServerName == "", "ca, certificate, key and server_name need tls = true")
	check((c.Certificate == "") == (c.Key == ""), "certificate and key come together")
	return errors.Join(errs...)
}

func (c *Config) timeout() time.Duration { return time.Duration(c.Timeout) }
func (c *Config) ttl() time.Duration     { return time.Duration(c.TTL) }

// tls returns nil where TLS is not asked for.
func (c *Config) tls() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("redis: ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis: ca: %s holds no certificate", c.CA)
		}
	}
	if c.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("redis: certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// connect makes the client. Nothing is re-sent behind our back, but in a cluster, where
// following a slot that has moved cannot be had without; onRetry is told of it.
func (c *Config) connect(onRetry func()) (goredis.UniversalClient, error) {
	t, err := c.tls()
	if err != nil {
		return nil, err
	}
	o := &goredis.UniversalOptions{
		Addrs: c.Addresses, DB: c.Database, MasterName: c.Master, IsClusterMode: c.Cluster,
		ClientName: "tidewatch-" + c.Sensor, Protocol: 2, // no pushes
		Username: c.User, Password: c.Password.Reveal(),
		SentinelUsername: c.SentinelUser, SentinelPassword: c.SentinelPassword.Reveal(),
		TLSConfig:  t,
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: c.timeout(), ReadTimeout: c.timeout(), WriteTimeout: c.timeout(), ContextTimeoutEnabled: true,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	quiet() // its errors are returned to us as well
	if c.Socket != "" {
		simple := o.Simple()
		simple.Network, simple.Addr = "unix", c.Socket
		return goredis.NewClient(simple), nil
	}
	client := goredis.NewUniversalClient(o)
	if cluster, ok := client.(*goredis.ClusterClient); ok {
		cluster.OnNewNode(func(node *goredis.Client) { node.AddHook(watch{onRetry}) })
	}
	return client, nil
}

// quiet makes the client library print nothing. It prints to standard error otherwise.
var quiet = sync.OnceFunc(func() { goredis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
