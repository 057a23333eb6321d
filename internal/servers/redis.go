package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Redis is one redis-server. Its data is gone when it is stopped, unless it was
// started with a setting that saves it.
type Redis struct {
	Addr   string // host:port
	Socket string // path of its unix socket; "" for a server that was there already
	CA     string // path of its certificate authority, if it speaks TLS

	Process *Process // nil for a server that was there already
}

// SharedRedis returns the server that the tests of a package share: the one whose
// address TIDEWATCH_TEST_REDIS holds, or one that it starts. Tests use a prefix of
// their own and do not change its settings.
func SharedRedis(t testing.TB) *Redis {
	t.Helper()
	if addr := os.Getenv("TIDEWATCH_TEST_REDIS"); addr != "" {
		return &Redis{Addr: addr}
	}
	sharedRedis.Do(func() {
		if sharedRedis.server, sharedRedis.err = startRedis("", false, nil); sharedRedis.err == nil {
			untilClose(sharedRedis.server.close)
		}
	})
	return checkedRedis(t, sharedRedis.server, sharedRedis.err)
}

var sharedRedis struct {
	sync.Once
	server *Redis
	err    error
}

// StartRedis starts a server of t's own with settings such as "maxmemory 10mb".
func StartRedis(t testing.TB, settings ...string) *Redis {
	t.Helper()
	return ownRedis(t, false, settings)
}

// StartRedisTLS starts a server that speaks nothing but TLS.
func StartRedisTLS(t testing.TB, settings ...string) *Redis {
	t.Helper()
	return ownRedis(t, true, settings)
}

func ownRedis(t testing.TB, secure bool, settings []string) *Redis {
	t.Helper()
	r, err := startRedis("", secure, settings)
	r = checkedRedis(t, r, err)
	t.Cleanup(r.close)
	return r
}

func checkedRedis(t testing.TB, r *Redis, err error) *Redis {
	t.Helper()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		missing(t, err)
	case err != nil:
		t.Fatal(err)
	}
	return r
}

// startRedis starts redis-server on a free port, or on addr.
func startRedis(addr string, secure bool, settings []string) (*Redis, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tidewatch-redis-")
	if err != nil {
		return nil, err
	}
	if addr == "" {
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	r := &Redis{Addr: addr, Socket: filepath.Join(dir, "redis.sock")}
	conf := []string{
		"bind 127.0.0.1", "dir " + dir, "unixsocket " + r.Socket, "save \"\"", "daemonize no", "repl-diskless-sync-delay 0",
	}
	if secure {
		if err := writeCertificates(dir); err != nil {
			return nil, err
		}
		r.CA = filepath.Join(dir, "ca.pem")
		conf = append(conf, "port 0", "tls-port "+port, "tls-auth-clients no", "tls-ca-cert-file "+r.CA,
			"tls-cert-file "+filepath.Join(dir, "server.pem"), "tls-key-file "+filepath.Join(dir, "server.key"))
	} else {
		conf = append(conf, "port "+port)
	}
	file := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(file, []byte(strings.Join(append(conf, settings...), "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	r.Process = &Process{
		Log:     filepath.Join(dir, "log"),
		command: func() *exec.Cmd { return exec.Command(program, file) },
		ready:   func(ctx context.Context) error { return r.ping(ctx) },
	}
	if err := r.Process.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return r, nil
}

func (r *Redis) close() {
	r.Process.Stop()
	_ = os.RemoveAll(filepath.Dir(r.Process.Log))
}

// ping asks the server whether it answers; that it wants a password is an answer.
func (r *Redis) ping(ctx context.Context) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if r.CA != "" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // whether it answers, not who it is
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH") {
		return err
	}
	return errors.New(strings.TrimSpace(line))
}

// CLI runs redis-cli on the server and returns what it printed. It ends the test if
// that fails, so only the test's own goroutine may call it.
func (r *Redis) CLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.Try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is CLI where a failure may pass, such as while a server changes its role.
func (r *Redis) Try(args ...string) (string, error) {
	host, port, _ := net.SplitHostPort(r.Addr)
	args = append([]string{"-h", host, "-p", port}, args...)
	if r.CA != "" {
		args = append([]string{"--tls", "--cacert", r.CA}, args...)
	}
	return redisCLI(args...)
}

// redisCLI runs redis-cli, which waits without end for a cluster that does not form.
func redisCLI(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redis-cli %q: %w\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// StartRedisCluster starts six nodes of t's own: three primaries, each with a replica.
// Unless announce is nil, it returns the address under which clients are told to find a
// node that listens on addr.
func StartRedisCluster(t testing.TB, announce func(addr string) string) []*Redis {
	t.Helper()
	var nodes []*Redis
	var addrs []string
	for range 6 {
		addr, bus := freeAddrOf(t), freeAddrOf(t)
		_, port, _ := net.SplitHostPort(bus)
		settings := []string{"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000", "cluster-port " + port, "cluster-replica-validity-factor 0"}
		if announce != nil {
			host, announced, _ := net.SplitHostPort(announce(addr))
			settings = append(settings, "cluster-announce-ip "+host, "cluster-announce-port "+announced, "cluster-announce-bus-port "+port)
		}
		n, err := startRedis(addr, false, settings)
		n = checkedRedis(t, n, err)
		t.Cleanup(n.close)
		nodes, addrs = append(nodes, n), append(addrs, n.Addr)
	}
	args := append([]string{"--cluster", "create"}, addrs...)
	if _, err := redisCLI(append(args, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
		t.Fatal(err)
	}
	untilTrue(t, "the cluster is complete", func() bool {
		for _, n := range nodes {
			info, err := n.Try("cluster", "info")
			if err != nil || !strings.Contains(info, "cluster_state:ok") {
				return false
			}
			known, err := n.Try("cluster", "nodes")
			if err != nil || strings.Count(known, "slave") != 3 {
				return false
			}
		}
		// And they agree: redis-cli moves no slots before.
		_, err := nodes[0].Try("--cluster", "check", nodes[0].Addr)
		return err == nil
	})
	return nodes
}

// untilTrue asks until the answer is yes.
func untilTrue(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited that %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// StartSentinel starts a sentinel of t's own that watches a primary by the name
// "baselines" and makes one of its replicas the primary when it is gone for a second.
func StartSentinel(t testing.TB, primary *Redis) *Redis {
	t.Helper()
	program, err := exec.LookPath("redis-sentinel")
	if err != nil {
		missing(t, err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(primary.Addr)
	_, own, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	conf := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor baselines %s %s 1\nsentinel down-after-milliseconds baselines 1000\nsentinel failover-timeout baselines 5000\n", own, host, port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Redis{Addr: addr}
	s.Process = &Process{
		Log:     file + ".log",
		command: func() *exec.Cmd { return exec.Command(program, file) },
		ready:   func(ctx context.Context) error { return s.ping(ctx) },
	}
	if err := s.Process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Process.Stop)
	return s
}

func freeAddrOf(t testing.TB) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// freeAddr returns an address of the loopback interface that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), nil
}
