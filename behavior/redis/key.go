package redis

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"tidewatch/behavior/state"
)

// The keys of one store:
//
//	<prefix>:e:{<kind>:<key>}                  an entity, a field a sensor and version
//	<prefix>:s:{<sensor>}                      a sensor: who writes, its epoch, its positions
//	<prefix>:l:{<sensor>/<section>/<bucket>}   a ledger: what a sensor's epochs changed
//	<prefix>:m:{<n>}:<sensor>                  a marker on each node of a cluster: the epochs that it has
//	<prefix>:sensors                           the names of all sensors
//
// What is in braces decides the slot. A record's key is bytes that a log may have a
// say in: it is encoded, and bounded.

// maxKey bounds the keys that are written in full, in bytes.
const maxKey = 96

var encoding = base64.RawURLEncoding

// entityKey returns the Redis key of a record's key.
func (s *Store) entityKey(key []byte) string {
	kind, rest := "_", key
	if len(key) > 0 && (key[0] >= 'a' && key[0] <= 'z' || key[0] >= 'A' && key[0] <= 'Z') {
		kind, rest = string(key[:1]), key[1:]
	}
	if len(rest) > maxKey {
		sum := sha256.Sum256(key) // '#' is in no encoded key
		return s.prefix + "e:{" + kind + "#" + encoding.EncodeToString(sum[:]) + "}"
	}
	return s.prefix + "e:{" + kind + ":" + encoding.EncodeToString(rest) + "}"
}

func (s *Store) sensorKey(sensor string) string { return s.prefix + "s:{" + sensor + "}" }

func (s *Store) ledgerKey(b bucket) string { return s.ledgerKeyOf(s.cfg.Sensor, b) }

func (s *Store) ledgerKeyOf(sensor string, b bucket) string {
	if b.section == state.Positions {
		return s.sensorKey(sensor) // committed together with the epoch
	}
	return s.prefix + "l:{" + sensor + "/" + b.section.String() + "/" + strconv.Itoa(int(b.n)) + "}"
}

func (s *Store) markerKey(n int) string {
	return s.prefix + "m:{" + strconv.Itoa(n) + "}:" + s.cfg.Sensor
}

// entityField is the name of a sensor's record of an entity.
func entityField(sensor string, gen uint64) string {
	return sensor + ":" + strconv.FormatUint(gen, 36)
}

// parseEntityField is the inverse of entityField.
func parseEntityField(f string) (sensor string, gen uint64, ok bool) {
	i := strings.LastIndexByte(f, ':')
	if i < 1 {
		return "", 0, false
	}
	gen, err := strconv.ParseUint(f[i+1:], 36, 64)
	return f[:i], gen, err == nil && name.MatchString(f[:i])
}

// The fields of a sensor's key and of a ledger begin with a letter.
const (
	fieldOwner  = 'o' // o<generation>: the process that writes it
	fieldCommit = 'c' // c<generation>.<epoch>: an epoch that it committed, the last one
	fieldEpoch  = 'e' // e<generation>.<epoch>: of a marker
	fieldDelta  = 'd' // d<generation>.<epoch>: what an epoch changed
	fieldWhole  = 'w' // w<generation>.<epoch>: everything up to it
)

func genField(kind rune, gen uint64) string { return string(kind) + strconv.FormatUint(gen, 36) }

func epochField(kind rune, v version) string {
	return string(kind) + strconv.FormatUint(v.gen, 36) + "." + strconv.FormatUint(v.epoch, 36)
}

// parseField reads what genField and epochField made.
func parseField(f string) (kind rune, v version, ok bool) {
	if len(f) < 2 {
		return 0, version{}, false
	}
	g, e, dotted := strings.Cut(f[1:], ".")
	var err error
	if v.gen, err = strconv.ParseUint(g, 36, 64); err != nil {
		return 0, version{}, false
	}
	if dotted {
		if v.epoch, err = strconv.ParseUint(e, 36, 64); err != nil {
			return 0, version{}, false
		}
	}
	return rune(f[0]), v, true
}
