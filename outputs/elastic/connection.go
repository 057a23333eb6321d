package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"tidewatch/outputs"
	"tidewatch/outputs/dial"
)

// connection speaks to the nodes of one cluster. It may be used concurrently.
type connection struct {
	nodes   *elastictransport.Client
	flavor  string
	timeout time.Duration
	// known says that the servers have been recognised as what they should be.
	known atomic.Bool
}

// ErrForeign says that a server is not what the configuration says it is.
var ErrForeign = errors.New("not the server that was asked for")

// connect prepares a connection; nothing is sent yet.
func connect(cfg *Config) (*connection, error) {
	transport, err := cfg.Transport(time.Duration(cfg.Timeout), cfg.Requests+1)
	if err != nil {
		return nil, err
	}
	var urls []*url.URL
	for _, a := range cfg.Addresses {
		u, err := dial.URL(a)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	options := []elastictransport.Option{
		elastictransport.WithUserAgent("tidewatch"),
		elastictransport.WithURLs(urls...),
		elastictransport.WithTransport(transport),
		elastictransport.WithDisableRetry(), // what is tried again, and when, is decided here
	}
	switch {
	case !cfg.APIKey.IsZero():
		options = append(options, elastictransport.WithAPIKey(cfg.APIKey.Reveal()))
	case !cfg.ServiceToken.IsZero():
		options = append(options, elastictransport.WithServiceToken(cfg.ServiceToken.Reveal()))
	case cfg.Username != "":
		options = append(options, elastictransport.WithBasicAuth(cfg.Username, cfg.Password.Reveal()))
	}
	nodes, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, err
	}
	return &connection{nodes: nodes, flavor: cfg.Flavor, timeout: time.Duration(cfg.Timeout)}, nil
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request and reads its answer, up to limit bytes. The error says that
// there is none, or that it does not come from the server that is meant.
func (c *connection) do(ctx context.Context, req esapi.Request, limit int64) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := req.Do(ctx, c.nodes)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if res.Body == nil { // of a HEAD request
		res.Body = http.NoBody
	}
	defer res.Body.Close()
	r := &reply{status: res.StatusCode, header: res.Header}
	if r.body, err = io.ReadAll(io.LimitReader(res.Body, limit+1)); err != nil {
		return nil, fmt.Errorf("half an answer: %w", err)
	}
	if int64(len(r.body)) > limit {
		return nil, fmt.Errorf("an answer of more than %d bytes", limit)
	}
	return r, c.recognise(r)
}

// recognise checks who has answered. What a proxy says in place of a server that is
// down proves nothing; nor does Elasticsearch itself say who it is to those whom it does
// not know.
func (c *connection) recognise(r *reply) error {
	if r.evasive() {
		return nil
	}
	is := r.header.Get("X-Elastic-Product") == "Elasticsearch"
	switch {
	case c.flavor == Elasticsearch && !is:
		return fmt.Errorf(`%w: the server is not Elasticsearch, or something between strips the header X-Elastic-Product; for OpenSearch set flavor = "opensearch"`, ErrForeign)
	case c.flavor == OpenSearch && is:
		return fmt.Errorf(`%w: the server is Elasticsearch: set flavor = "elasticsearch"`, ErrForeign)
	}
	return nil
}

// evasive reports whether an answer does not say who has answered.
func (r *reply) evasive() bool {
	return transient(r.status) || r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
}

// transient reports whether a status says that it is worth to try the same again.
func transient(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500
}

// said returns what an answer says of an error, in one line that is safe to print.
func (r *reply) said() string {
	var e struct {
		Error struct {
			Type   string
			Reason string
		}
	}
	text := ""
	if err := json.Unmarshal(r.body, &e); err == nil {
		text = e.Error.Reason
	}
	if text == "" {
		text = string(r.body)
	}
	return fmt.Sprintf("status %d: %s", r.status, outputs.Printable(shorten(text, 300)))
}

func shorten(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
