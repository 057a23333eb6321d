package configs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tidewatch/ingest"
	"tidewatch/internal/strict"
)

// Input is one thing to follow, under the name of its table: that name is what metrics
// and the status call it.
type Input struct {
	Type     string        `toml:"type"`
	Paths    []string      `toml:"paths"`    // files, or patterns of them; or sockets
	StartAt  string        `toml:"start_at"` // of a file that is there at the first start
	Archives []string      `toml:"archives"` // folders that rotated logs are moved to
	Linger   time.Duration `toml:"linger"`   // how long a rotated file is watched; 0: by its format
	Redis    *RedisInput   `toml:"redis"`    // of a list or a stream
}

// RedisInput is the server and the keys of an input of type redis_list or redis_stream.
type RedisInput struct {
	Address  string        `toml:"address"` // host:port
	Socket   string        `toml:"socket"`  // of the server, in place of its address
	Database int           `toml:"database"`
	User     string        `toml:"user"` // of the ACL; "" is the default one
	Password strict.Secret `toml:"password"`
	TLS      bool          `toml:"tls"`
	CA       string        `toml:"ca"`     // file of authorities that are trusted, in place of the system's
	Keys     []string      `toml:"keys"`   // the lists or streams
	Group    string        `toml:"group"`  // consumer group of streams
	Pushed   string        `toml:"pushed"` // the end of a list at which new records are
}

// SetDefaults sets what holds where a table says nothing.
func (r *RedisInput) SetDefaults() {
	r.Address, r.Group, r.Pushed = "127.0.0.1:6379", "tidewatch", "left"
}

// Check reports what cannot be followed.
func (r *RedisInput) Check(bad func(key, what, allowed string)) {
	if len(r.Keys) == 0 || slices.Contains(r.Keys, "") {
		bad("keys", "a list or stream without a name", `names of lists or streams, such as ["suricata"]`)
	}
	if _, _, err := net.SplitHostPort(r.Address); r.Socket == "" && err != nil {
		bad("address", fmt.Sprintf("address = %q", r.Address), `a host and a port, such as "127.0.0.1:6379"`)
	}
	if r.Socket != "" && !filepath.IsAbs(r.Socket) {
		bad("socket", fmt.Sprintf("socket = %q", r.Socket), "an absolute path")
	}
	if r.Group == "" {
		bad("group", "the consumer group has no name", "a name, one for all that share the work")
	}
	if !r.TLS && r.CA != "" {
		bad("ca", "authorities without TLS", "tls = true beside it")
	}
	strict.Between(bad, "database", r.Database, 0, 1<<16)
	strict.OneOf(bad, "pushed", r.Pushed, "left", "right")
}

// client returns the client of the server. It has not connected.
func (r *RedisInput) client() (*goredis.Client, error) {
	o := &goredis.Options{Network: "tcp", Addr: r.Address, DB: r.Database, Username: r.User, Password: r.Password.Reveal(), ClientName: "tidewatch", DisableIdentity: true, Protocol: 2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}
	if r.Socket != "" {
		o.Network, o.Addr = "unix", r.Socket
	}
	if r.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", r.CA)
		}
	}
	return goredis.NewClient(o), nil
}

// SetDefaults sets what holds where a table says nothing.
func (in *Input) SetDefaults() { in.Type, in.StartAt = "file", "end" }

// Check reports what cannot be followed.
func (in *Input) Check(bad func(key, what, allowed string)) {
	strict.OneOf(bad, "type", in.Type, ingest.TypeFile, ingest.TypeUnixStream, ingest.TypeUnixDatagram, ingest.TypeStdin, ingest.TypeRedisList, ingest.TypeRedisStream)
	strict.OneOf(bad, "start_at", in.StartAt, "end", "beginning")
	switch none := len(in.Paths) == 0; {
	case in.fromRedis() && in.Redis == nil:
		bad("type", fmt.Sprintf("type = %q without a server", in.Type), `a table [input.NAME.redis] with keys = ["suricata"]`)
	case !in.fromRedis() && in.Redis != nil:
		bad("redis", fmt.Sprintf("a Redis server beside type = %q", in.Type), `type = "redis_list" or "redis_stream"`)
	case in.fromRedis() && !none:
		bad("paths", "lists and streams have no path", "no paths; keys in [input.NAME.redis]")
	case in.Type == ingest.TypeStdin && !none:
		bad("paths", "standard input has no path", "no paths")
	case in.Type != ingest.TypeStdin && !in.fromRedis() && none:
		bad("paths", "there are no paths", `files, patterns or sockets, such as ["/opt/zeek/logs/current/*.log"]`)
	}
	for i, p := range in.Paths {
		pattern(bad, "paths."+strconv.Itoa(i), p)
	}
	for i, p := range in.Archives {
		pattern(bad, "archives."+strconv.Itoa(i), p)
	}
	if in.Linger != 0 {
		span(bad, "linger", in.Linger, time.Second, time.Hour)
	}
}

func pattern(bad func(key, what, allowed string), key, p string) {
	const allowed = "an absolute path, in which *, ? and [a-z] stand for what they do in a shell"
	if !filepath.IsAbs(p) {
		bad(key, fmt.Sprintf("path %q", p), allowed)
	} else if _, err := filepath.Match(p, ""); err != nil {
		bad(key, fmt.Sprintf("path %q: a bracket is not closed", p), allowed)
	}
}

func (in *Input) fromRedis() bool {
	return in.Type == ingest.TypeRedisList || in.Type == ingest.TypeRedisStream
}

// Follow returns the section as package ingest wants it: one input a path, a list or a
// stream.
func (in *Input) Follow() (all []ingest.Input, err error) {
	switch {
	case in.Type == ingest.TypeStdin:
		return []ingest.Input{{Type: in.Type}}, nil
	case in.fromRedis():
		client, err := in.Redis.client()
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		for _, key := range in.Redis.Keys {
			all = append(all, ingest.Input{Type: in.Type, StartAt: in.StartAt, Redis: client, RedisKey: key, Group: in.Redis.Group, PushedRight: in.Redis.Pushed == "right"})
		}
		return all, nil
	}
	for _, p := range in.Paths {
		all = append(all, ingest.Input{Type: in.Type, Path: p, StartAt: in.StartAt, Archives: in.Archives, Linger: in.Linger})
	}
	return all, nil
}
