package zeek

import (
	"encoding/binary"
	"errors"
)

// storedVersion is the first byte of a stored header.
const storedVersion = 1

// maxStored bounds a stored header, in bytes. Longer ones are not stored: the file
// has it anyway.
const maxStored = 256 << 10

// errStored says that bytes are no stored header, or one of a version that is not
// known.
var errStored = errors.New("not a stored Zeek header of a known version")

// AppendHeader appends what the directives have said so far to dst: a new parser
// that restores it reads on where this one stands.
func (p *TSV) AppendHeader(dst []byte) []byte {
	h := &p.head
	start := len(dst)
	dst = append(dst, storedVersion, bit(h.plain)|bit(h.labelled)<<1)
	for _, v := range [][]byte{h.prefix, h.sep, h.setSep, h.empty, h.unset, []byte(h.path)} {
		dst = appendSized(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.names)))
	for _, n := range h.names {
		dst = appendSized(dst, []byte(n))
	}
	if len(dst)-start > maxStored {
		return dst[:start]
	}
	return dst
}

// RestoreHeader takes over what AppendHeader wrote. Nothing, of an earlier header
// or of this one, is kept where it fails.
func (p *TSV) RestoreHeader(stored []byte) error {
	var h header
	h.reset()
	p.head = h
	if len(stored) < 2 || stored[0] != storedVersion || stored[1] > 3 {
		return errStored
	}
	h.plain, h.labelled = stored[1]&1 != 0, stored[1]&2 != 0
	rest, ok := stored[2:], true
	text := func() []byte {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			ok, rest = false, nil
			return nil
		}
		v := append([]byte{}, rest[size:size+int(n)]...)
		rest = rest[size+int(n):]
		return v
	}
	h.prefix, h.sep, h.setSep, h.empty, h.unset, h.path = text(), text(), text(), text(), text(), string(text())
	n, size := binary.Uvarint(rest)
	if !ok || size <= 0 || n > maxColumns || len(h.prefix) == 0 || len(h.sep) == 0 {
		return errStored
	}
	rest = rest[size:]
	for range n {
		h.names = append(h.names, string(text()))
	}
	if !ok || len(rest) > 0 {
		return errStored
	}
	p.head = h
	return nil
}

func appendSized(dst, v []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
