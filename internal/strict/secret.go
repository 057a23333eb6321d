package strict

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// Secret is a password or a key. A file says where it is found, { env = "NAME" } or
// { file = "/path" }, or what it is. However it is printed, it prints <secret>; Reveal
// returns what it is. The zero Secret is none.
type Secret struct {
	value   string
	literal bool
}

// SecretForm says how a Secret is written.
const SecretForm = `{ env = "NAME" }, { file = "/path" }, or a text in quotes in a file that others cannot read`

const hidden = "<secret>"

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 64 << 10

// NewSecret returns the secret that s is.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.value == "" }

// Literal reports whether the file that names the secret holds it too.
func (s Secret) Literal() bool { return s.literal }

// String returns "<secret>", or "" if there is none.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return hidden
}

// Format prints what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText writes what String returns: for JSON, TOML and text logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is what log/slog prints.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalTOML fetches the secret from where the file says. One line break at its
// end is not part of it.
func (s *Secret) UnmarshalTOML(v any) error {
	t, ok := v.(map[string]any)
	if !ok {
		text, ok := v.(string)
		if !ok {
			return &Fault{"a secret that is " + KindOf(v), SecretForm}
		}
		s.value, s.literal = text, true
		return nil
	}
	if len(t) == 1 {
		if name, ok := t["env"].(string); ok {
			return s.fromEnv(name)
		}
		if path, ok := t["file"].(string); ok {
			return s.fromFile(path)
		}
	}
	return &Fault{"a secret that is neither { env } nor { file }", SecretForm}
}

func (s *Secret) fromEnv(name string) error {
	v, ok := os.LookupEnv(name)
	if !ok || v == "" {
		return &Fault{fmt.Sprintf("the environment has no %q", name), "the name of a variable that is set"}
	}
	s.value = trimBreak(v)
	return nil
}

// fromFile reads a secret's file, which nobody but its owner and group may read, and
// nobody but its owner write.
func (s *Secret) fromFile(path string) error {
	const allowed = "a file that holds the secret and that others cannot read (chmod 600)"
	// A pipe would let us wait for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &Fault{"the secret cannot be read: " + err.Error(), allowed}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return &Fault{"the secret cannot be read: " + err.Error(), allowed}
	case !info.Mode().IsRegular():
		return &Fault{path + " is no file", allowed}
	case info.Mode().Perm()&0o027 != 0:
		return &Fault{fmt.Sprintf("%s has the mode %s: others may read or change the secret", path, fs.FileMode(info.Mode().Perm())), allowed}
	case info.Size() > maxSecret:
		return &Fault{fmt.Sprintf("%s has %d bytes", path, info.Size()), allowed}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return &Fault{"the secret cannot be read: " + err.Error(), allowed}
	}
	if s.value = trimBreak(string(b)); s.value == "" {
		return &Fault{path + " is empty", allowed}
	}
	return nil
}

// mask replaces what a line of a file may tell of a secret, for messages that quote it.
func mask(line string) string { return secretLine.ReplaceAllString(line, "${1}"+hidden) }

// secretLine is a key that is named like a secret, with a text as its value.
var secretLine = regexp.MustCompile(`(?i)(\w*(?:password|passwd|secret|token|api_key|credential)\w*["']?\s*=\s*)["'].*`)

func trimBreak(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}
