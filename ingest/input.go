package ingest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Values of Input.StartAt.
const (
	StartAtEnd       = "end"
	StartAtBeginning = "beginning"
)

// Input is one thing to follow. The zero values of what is not set are the defaults.
type Input struct {
	// Type says what Path is: a file if it is empty.
	Type string
	// Path of a file, or a pattern of them as in a shell: *, ?, [a-z]. It need not
	// exist yet. Links are followed, and looked at again all the time.
	Path string
	// StartAt says where to begin in a file that is there when tidewatch follows
	// this input for the first time: StartAtEnd, the default, or StartAtBeginning. A
	// file that comes later is read from its beginning, one that is known from where
	// it was left.
	StartAt string
	// Archives are folders, or patterns of them, into which rotated logs are moved,
	// perhaps compressed. The folder that the log is in is looked at anyway.
	Archives []string
	// Linger is for how long a rotated file that is read to its end is still
	// watched, while its successor is read: its writer may not have noticed yet. 0
	// means 3 s for Zeek, which closes first, and a minute for others.
	Linger time.Duration

	// Redis is the server of a Redis input, whose connections and settings are used,
	// but for its retries. RedisKey is the list or stream. Group is the consumer group
	// of a stream: "tidewatch" if it is empty.
	Redis    *redis.Client
	RedisKey string
	Group    string
	// PushedRight says that new records are at the right end of the list: Suricata's
	// mode rpush. Its default, lpush, puts them to the left.
	PushedRight bool
}

// Values of Input.Type.
const (
	TypeFile         = "file"
	TypeUnixStream   = "unix_stream" // Path is a socket that we listen on
	TypeUnixDatagram = "unix_dgram"
	TypeStdin        = "stdin"
	TypeRedisList    = "redis_list"
	TypeRedisStream  = "redis_stream"
)

var inputTypes = []string{TypeFile, TypeUnixStream, TypeUnixDatagram, TypeStdin, TypeRedisList, TypeRedisStream}

// Check says what is wrong with an input: all of it.
func (in *Input) Check() error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch in.Type {
	case "", TypeFile:
		in.checkFile(say)
	case TypeUnixStream, TypeUnixDatagram:
		if in.Path == "" || len(in.Path) > maxSocketPath {
			say("path: of a socket, at most %d bytes", maxSocketPath)
		}
	case TypeStdin:
	case TypeRedisList, TypeRedisStream:
		if in.Redis == nil || in.RedisKey == "" {
			say("a server and a key are needed for %q", in.Type)
		}
	default:
		say("type: %q is not known: it is one of %q", in.Type, inputTypes)
	}
	return errors.Join(errs...)
}

// maxSocketPath is what fits into the kernel's address of a socket.
const maxSocketPath = 107

func (in *Input) checkFile(say func(string, ...any)) {
	switch _, err := filepath.Match(in.Path, ""); {
	case in.Path == "":
		say("path: missing")
	case err != nil:
		say("path: %q: a bracket is not closed", in.Path)
	case strings.HasSuffix(in.Path, ".gz") || strings.HasSuffix(in.Path, ".zst"):
		say("path: %q: a compressed file cannot be followed: tidewatch analyze reads it", in.Path)
	case len(in.Path) > maxPath:
		say("path: longer than %d bytes", maxPath)
	}
	switch in.StartAt {
	case "", StartAtEnd, StartAtBeginning:
	default:
		say("start_at: %q is neither %q nor %q", in.StartAt, StartAtEnd, StartAtBeginning)
	}
	for _, a := range in.Archives {
		if _, err := filepath.Match(a, ""); err != nil || a == "" {
			say("archives: %q is not the pattern of a folder", a)
		}
	}
	if in.Linger < 0 {
		say("linger: %v is negative", in.Linger)
	}
}

// isPattern reports whether a path means whatever it matches.
func isPattern(path string) bool { return strings.ContainsAny(path, "*?[") }
