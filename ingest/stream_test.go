package ingest

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"tidewatch/event"
	"tidewatch/internal/servers"
)

// until fills sequences until n events have come, and commits their positions if
// commit says so. It returns their uids, and the positions.
func until(t *testing.T, f *Follow, n int, commit bool) (uids []string, ps []event.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool := event.NewSequencePool(1, 512)
	latest := map[string][]byte{}
	for len(uids) < n {
		s := <-pool
		err := f.Fill(ctx, s)
		for _, ev := range s.Events {
			uids = append(uids, strings.Clone(ev.UID))
		}
		for _, p := range s.Positions {
			latest[p.Key] = p.Value
		}
		s.Share(1)
		s.Release()
		if err != nil {
			if err != io.EOF {
				t.Fatalf("%v after %d of %d records", err, len(uids), n)
			}
			break
		}
	}
	for k, v := range latest {
		ps = append(ps, event.Position{Key: k, Value: v})
	}
	if commit {
		f.Committed(ctx, ps)
	}
	return uids, ps
}

func follow(t *testing.T, positions []event.Position, inputs ...Input) *Follow {
	t.Helper()
	f, err := NewFollow(inputs, FollowOptions{Positions: positions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// dial connects to a socket that may not be there yet.
func dial(t *testing.T, network, path string) net.Conn {
	t.Helper()
	for range 1000 {
		c, err := net.Dial(network, path)
		if err == nil {
			return c
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("nobody listens")
	return nil
}

func numbers(from, to int) (s []string) {
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

// A record that was cut off by another is refused; the other one is read.
func TestUnixStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eve.sock")
	f := follow(t, nil, Input{Type: TypeUnixStream, Path: path})
	f.begin()
	c := dial(t, "unix", path)
	go func() { // it waits when the socket is full; Suricata would not
		for i := 1; i <= 1000; i++ {
			line := eveLine(i, i)
			if i == 500 {
				line = eveLine(0, 9999)[:100] + line
			}
			if _, err := io.WriteString(c, line); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	got, ps := until(t, f, 1000, true)
	if d := cmp.Diff(numbers(1, 1000), got); d != "" || len(ps) > 0 {
		t.Errorf("%v (-want +got):\n%s", ps, d)
	}
	c.Close()
	c = dial(t, "unix", path) // Suricata was started again
	if _, err := io.WriteString(c, eveLine(1001, 1001)); err != nil {
		t.Fatal(err)
	}
	got, _ = until(t, f, 1, true)
	if d := cmp.Diff(numbers(1001, 1001), got); d != "" {
		t.Error(d)
	}
	if s := f.Sources()[0]; s.Refused != 1 || s.Records != 1001 {
		t.Errorf("%d refused, %d records", s.Refused, s.Records)
	}
	c.Close()
}

func TestUnixDatagram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eve.sock")
	f := follow(t, nil, Input{Type: TypeUnixDatagram, Path: path})
	f.begin()
	c := dial(t, "unixgram", path)
	// The socket takes few at a time: who writes waits for who reads.
	sent := make(chan error, 1)
	go func() {
		for i := 1; i <= 300; i++ {
			if _, err := io.WriteString(c, eveLine(i, i)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	got, _ := until(t, f, 300, true)
	if d := cmp.Diff(numbers(1, 300), got); d != "" {
		t.Fatal(d)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Nothing that is no forgotten socket is removed.
func TestSocketInUse(t *testing.T) {
	path := write(t, "eve.json", nil)
	if err := clearSocket("unix", path); err == nil {
		t.Error("a file was taken for a socket")
	}
	path = filepath.Join(t.TempDir(), "eve.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := clearSocket("unix", path); err == nil {
		t.Error("a socket was taken from a program that listens")
	}
}

func TestRedis(t *testing.T) {
	addr := servers.StartRedis(t).Addr
	f := func(kind string, push func(c *redis.Client, key, line string) error, left func(c *redis.Client, key string) int64) {
		t.Run(kind, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: addr})
			defer client.Close()
			key := "ingest-test-" + kind + fmt.Sprint(time.Now().UnixNano())
			defer client.Del(t.Context(), key, key+":tidewatch", key+":tidewatch:removed")
			in := Input{Type: kind, Redis: client, RedisKey: key, StartAt: StartAtBeginning}
			send := func(from, to int) {
				t.Helper()
				for i := from; i <= to; i++ {
					if err := push(client, key, eveLine(i, i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := func(got []string, from, to int) {
				t.Helper()
				if d := cmp.Diff(numbers(from, to), got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			}
			send(1, 700)
			a := follow(t, nil, in)
			got, ps := until(t, a, 700, true)
			want(got, 1, 700)
			if n := left(client, key); n != 0 {
				t.Errorf("%d are kept after the commit", n)
			}
			send(701, 900)
			got, _ = until(t, a, 200, false) // killed before the commit
			want(got, 701, 900)
			a.Close()

			b := follow(t, ps, in)
			send(901, 910)
			got, ps = until(t, b, 210, false) // killed after it, before the server was told
			want(got, 701, 910)
			b.Close()

			c := follow(t, ps, in)
			send(911, 920)
			got, _ = until(t, c, 10, true)
			want(got, 911, 920)
			if n := left(client, key); n != 0 {
				t.Errorf("%d are kept after the last commit", n)
			}
		})
	}
	ctx := context.Background()
	f(TypeRedisList, func(c *redis.Client, key, line string) error { return c.LPush(ctx, key, line).Err() },
		func(c *redis.Client, key string) int64 { return c.LLen(ctx, key+":tidewatch").Val() })
	f(TypeRedisStream, func(c *redis.Client, key, line string) error {
		return c.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"eve", line}}).Err()
	}, func(c *redis.Client, key string) int64 { return c.XPending(ctx, key, redisGroup).Val().Count })
}
