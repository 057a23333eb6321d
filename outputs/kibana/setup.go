package kibana

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tidewatch/internal/strict"
	"tidewatch/outputs"
	"tidewatch/outputs/dial"
)

// Config says where Kibana is, and who we are to it.
type Config struct {
	Address string // URL, with the base path if there is one
	Space   string // "" is the default one

	// One of these two ways to say who we are, or none.
	Username string
	Password strict.Secret
	APIKey   strict.Secret // base64 of id:key

	dial.HTTP
	Timeout time.Duration // of one request
}

// Default returns the configuration of a Kibana on this host.
func Default() Config {
	return Config{Address: "https://127.0.0.1:5601", Timeout: time.Minute}
}

// Validate returns everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, what, allowed string) {
		errs = append(errs, fmt.Errorf("%s: %s; allowed: %s", key, what, allowed))
	}
	if _, err := dial.URL(c.Address); err != nil {
		bad("address", err.Error(), "a URL such as https://127.0.0.1:5601, without a password")
	}
	if _, err := newSite(c.Space); err != nil {
		bad("space", err.Error(), "the identifier in the space's address")
	}
	if c.Username != "" && !c.APIKey.IsZero() {
		bad("username", "several ways to say who we are", "username and password, or an API key")
	}
	if (c.Username == "") != c.Password.IsZero() {
		bad("password", "a username without a password, or the reverse", "both or none")
	}
	c.CheckHTTP(bad)
	return errors.Join(errs...)
}

// Change is what Setup did to one object.
type Change struct {
	Type, ID string
	Done     string // "created", "replaced" or "unchanged"
}

// String returns the change in one line.
func (c Change) String() string { return fmt.Sprintf("%-9s  %s %s", c.Done, c.Type, c.ID) }

// Setup makes Kibana have the objects of this version, and says what it changed. It
// replaces those of older versions with what was changed in them by hand, and leaves
// newer ones alone. It may be run as often as one likes.
func Setup(ctx context.Context, cfg *Config) ([]Change, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	transport, err := cfg.Transport(cfg.Timeout, 1)
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	k := &kibana{cfg: cfg, client: &http.Client{Transport: transport, Timeout: cfg.Timeout}}
	ours, err := NDJSON(cfg.Space)
	if err != nil {
		return nil, err
	}
	objects, err := decode(ours)
	if err != nil {
		return nil, err
	}
	same, err := k.has(ctx, objects)
	if err != nil {
		return nil, err
	}
	if same {
		var changes []Change
		for _, o := range objects {
			changes = append(changes, Change{o.Type, o.ID, "unchanged"})
		}
		return changes, nil
	}
	return k.load(ctx, ours)
}

// kibana is one server.
type kibana struct {
	cfg    *Config
	client *http.Client
}

// answerLimit bounds the answers that are read, in bytes.
const answerLimit = 16 << 20

// post sends a request to an API of the space. The error says that there is no answer,
// or none of Kibana's.
func (k *kibana) post(ctx context.Context, path, contentType string, body []byte) (status int, answer []byte, err error) {
	u, err := dial.URL(k.cfg.Address)
	if err != nil {
		return 0, nil, err
	}
	address := u.String()
	if k.cfg.Space != "" && k.cfg.Space != "default" {
		address += "/s/" + url.PathEscape(k.cfg.Space)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("kbn-xsrf", "tidewatch")
	req.Header.Set("User-Agent", "tidewatch")
	switch {
	case !k.cfg.APIKey.IsZero():
		req.Header.Set("Authorization", "ApiKey "+k.cfg.APIKey.Reveal())
	case k.cfg.Username != "":
		req.SetBasicAuth(k.cfg.Username, k.cfg.Password.Reveal())
	}
	res, err := k.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no answer: %w", err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return 0, nil, fmt.Errorf("half an answer: %w", err)
	}
	if res.Header.Get("kbn-name") == "" && res.StatusCode < 500 {
		return 0, nil, fmt.Errorf("what answers at %s is not Kibana, or something between strips the header kbn-name (status %d)", k.cfg.Address, res.StatusCode)
	}
	return res.StatusCode, answer, nil
}

// has reports whether Kibana has all objects of this version. The error says, among
// others, that it has newer ones.
func (k *kibana) has(ctx context.Context, objects []savedObject) (bool, error) {
	overview := objects[slices.IndexFunc(objects, func(o savedObject) bool { return isOverview(&o) })]
	want, _ := signatureOf(overview.Attributes["description"].(string))
	there, err := k.export(ctx, overview)
	if err != nil || there == nil {
		return false, err
	}
	description, _ := there[0].Attributes["description"].(string)
	is, ok := signatureOf(description)
	if ok && is.version > want.version {
		return false, fmt.Errorf("the dashboards of version %d are there, and this is version %d: use the newer tidewatch, or delete them first", is.version, want.version)
	}
	if is != want {
		return false, nil
	}
	all, err := k.export(ctx, objects...)
	return all != nil, err
}

// isOverview reports whether an object bears the signature.
func isOverview(o *savedObject) bool {
	description, _ := o.Attributes["description"].(string)
	_, ok := signatureOf(description)
	return ok
}

// export returns the objects as Kibana has them, or nil if it lacks one.
func (k *kibana) export(ctx context.Context, objects ...savedObject) ([]savedObject, error) {
	type named struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	var list []named
	for _, o := range objects {
		list = append(list, named{o.Type, o.ID})
	}
	body, err := json.Marshal(map[string]any{"objects": list, "excludeExportDetails": true})
	if err != nil {
		return nil, err
	}
	status, answer, err := k.post(ctx, "/api/saved_objects/_export", "application/json", body)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusBadRequest, status == http.StatusNotFound:
		return nil, nil // that is how it says that one is missing
	case status != http.StatusOK:
		return nil, refusal(status, answer)
	}
	there, err := decode(answer)
	if err != nil {
		return nil, fmt.Errorf("an export that cannot be read: %w", err)
	}
	if len(there) < len(objects) {
		return nil, nil
	}
	return there, nil
}

func decode(b []byte) (all []savedObject, err error) {
	for line := range bytes.Lines(b) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var o savedObject
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// imported is Kibana's answer to an import.
type imported struct {
	Success bool `json:"success"`
	Done    []struct {
		Type      string `json:"type"`
		ID        string `json:"id"`
		Overwrite bool   `json:"overwrite"`
		// DestinationID is another id that the object got: one of another space has ours.
		DestinationID string `json:"destinationId"`
	} `json:"successResults"`
	Errors []struct {
		Type  string `json:"type"`
		ID    string `json:"id"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"errors"`
}

// load imports the objects, in place of those that are there.
func (k *kibana) load(ctx context.Context, objects []byte) ([]Change, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "tidewatch.ndjson") // Kibana looks at how the name ends
	if err == nil {
		_, err = file.Write(objects)
	}
	if err := errors.Join(err, form.Close()); err != nil {
		return nil, err
	}
	status, answer, err := k.post(ctx, "/api/saved_objects/_import?overwrite=true", form.FormDataContentType(), body.Bytes())
	if err != nil {
		return nil, err
	}
	var r imported
	if status != http.StatusOK {
		return nil, refusal(status, answer)
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	var changes []Change
	for _, d := range r.Done {
		done := "created"
		if d.Overwrite {
			done = "replaced"
		}
		changes = append(changes, Change{d.Type, d.ID, done})
		if d.DestinationID != "" && d.DestinationID != d.ID {
			err = errors.Join(err, fmt.Errorf("%s: links do not find it", outputs.Printable(d.Type+" "+d.ID+" became "+d.DestinationID)))
		}
	}
	for _, e := range r.Errors {
		err = errors.Join(err, fmt.Errorf("%s: %s", outputs.Printable(e.Type+" "+e.ID), outputs.Printable(strings.TrimSpace(e.Error.Type+" "+e.Error.Message))))
	}
	if err == nil && !r.Success {
		err = errors.New("the import has failed, and Kibana does not say why")
	}
	return changes, err
}

// refusal says what an answer says of an error.
func refusal(status int, answer []byte) error {
	var e struct{ Message string }
	said := string(answer)
	if err := json.Unmarshal(answer, &e); err == nil && e.Message != "" {
		said = e.Message
	}
	if len(said) > 300 {
		said = said[:300] + "…"
	}
	hint := ""
	switch status {
	case http.StatusUnauthorized:
		hint = "; check username and password, or the API key"
	case http.StatusForbidden:
		hint = "; the user needs the Kibana privileges of Saved Objects Management and Dashboard, all"
	}
	return fmt.Errorf("status %d: %s%s", status, outputs.Printable(said), hint)
}
