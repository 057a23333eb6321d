package synth

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"tidewatch/internal/eval"
)

// Formats that Write knows.
const (
	FormatZeek     = "zeek" // tab-separated, one file a log
	FormatZeekJSON = "json" // as corelight/json-streaming-logs has it, with _path and _write_ts
	FormatEVE      = "eve"  // Suricata 7, all types in one file
)

// Write runs the network and writes its days into a folder: the logs in each of
// the formats, and the truth file. One format goes into the folder itself, several
// into folders of their own with the names of the formats. only lists the logs to
// write by their names in Zeek ("conn", "dns", "ssl", "http"); none means all.
func (n *Network) Write(dir string, formats, only []string) (err error) {
	if n.err != nil {
		return n.err
	}
	var outs []*output
	defer func() {
		for _, o := range outs {
			err = errors.Join(err, o.close())
		}
	}()
	for _, f := range formats {
		d := dir
		if len(formats) > 1 {
			d = filepath.Join(dir, f)
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		some, err := n.open(d, f, only)
		outs = append(outs, some...)
		if err != nil {
			return err
		}
	}
	hour := n.start
	err = n.Hours(func(flows []*Flow) error {
		hour += hourNs
		for _, o := range outs {
			for _, f := range flows {
				o.rows(f, o)
			}
			until := hour
			if hour >= n.end {
				until = never
			}
			if err := o.flush(until); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.writeTruth(filepath.Join(dir, eval.TruthFile))
}

func (n *Network) writeTruth(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(n.Truth().Write(f), f.Close())
}

// row is one line to come.
type row struct {
	at   int64 // when the sensor writes it, Unix nanoseconds
	flow *Flow
	kind recordKind
	i    int32 // which of the flow's DNS or HTTP transactions
	seq  uint64
}

type recordKind uint8

const (
	rowConn recordKind = iota
	rowDNS
	rowDNSAnswer
	rowTLS
	rowHTTP
)

// output is one log. Its rows wait until nothing can come before them.
type output struct {
	file    *os.File
	zip     *gzip.Writer
	w       *bufio.Writer
	rows    func(f *Flow, o *output)        // adds the rows of a flow
	line    func(dst []byte, r *row) []byte // writes a row
	end     int64                           // the sensor stops then, and writes what it has
	tail    string
	pending []row
	buf     []byte
	seq     uint64
}

// add adds a row. Whatever is left when the sensor stops is written then.
func (o *output) add(at int64, f *Flow, kind recordKind, i int) {
	o.seq++
	o.pending = append(o.pending, row{min(at, o.end), f, kind, int32(i), o.seq})
}

// flush writes the rows that come before a time.
func (o *output) flush(until int64) error {
	slices.SortFunc(o.pending, func(a, b row) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
	i := 0
	for ; i < len(o.pending) && o.pending[i].at < until; i++ {
		o.buf = append(o.line(o.buf[:0], &o.pending[i]), '\n')
		if _, err := o.w.Write(o.buf); err != nil {
			return err
		}
	}
	o.pending = slices.Delete(o.pending, 0, i)
	return nil
}

func (o *output) close() error {
	_, err := o.w.WriteString(o.tail)
	err = errors.Join(err, o.w.Flush())
	if o.zip != nil {
		err = errors.Join(err, o.zip.Close())
	}
	return errors.Join(err, o.file.Close())
}

// create creates a log.
func (n *Network) create(path, head string) (*output, error) {
	if n.opts.Gzip {
		path += ".gz"
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	o := &output{file: f, end: n.end}
	w := io.Writer(f)
	if n.opts.Gzip {
		if o.zip, err = gzip.NewWriterLevel(f, gzip.BestCompression); err != nil {
			return nil, err
		}
		w = o.zip
	}
	o.w = bufio.NewWriterSize(w, 1<<18)
	_, err = o.w.WriteString(head)
	return o, err
}

// open creates the logs of one format.
func (n *Network) open(dir, format string, only []string) ([]*output, error) {
	switch format {
	case FormatEVE:
		o, err := n.create(filepath.Join(dir, "eve.json"), "")
		if err != nil {
			return nil, err
		}
		o.rows, o.line = eveRows(only), n.eveLine
		return []*output{o}, nil
	case FormatZeek, FormatZeekJSON:
		return n.openZeek(dir, format, only)
	}
	return nil, fmt.Errorf("format %q: allowed are zeek, json and eve", format)
}
