package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// Change is what Setup did to one thing in the cluster.
type Change struct {
	Kind, Name string
	Done       string // "created", "updated", "unchanged", "deleted", "absent", or what else there is to say
}

// String returns the change in one line.
func (c Change) String() string { return fmt.Sprintf("%-9s  %s %s", c.Done, c.Kind, c.Name) }

// privileges are what the output needs: to append documents, and to make the data
// stream that a template describes.
var privileges = []string{"auto_configure", "create_doc", "view_index_metadata"}

// access returns the role of the output. OpenSearch keeps roles in a plugin of its own
// form.
func access(flavor string) []resource {
	if flavor != Elasticsearch {
		return nil
	}
	role := resource{"role", "tidewatch_writer", "/_security/role/tidewatch_writer", map[string]any{
		"cluster":  []string{},
		"indices":  []any{map[string]any{"names": []string{"logs-tidewatch.*-*"}, "privileges": privileges}},
		"metadata": map[string]any{"managed_by": "tidewatch", "version": templateVersion},
	}}
	role.sign("metadata")
	return []resource{role}
}

// request is a request for which the esapi package's own types would say the same in
// more words.
type request struct {
	method, path string
	body         []byte
}

// Do implements esapi.Request.
func (r request) Do(ctx context.Context, t esapi.Transport) (*esapi.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.path, strings.NewReader(string(r.body)))
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := t.Perform(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{StatusCode: res.StatusCode, Body: res.Body, Header: res.Header}, nil
}

// answerLimit bounds the answers that setup reads, in bytes.
const answerLimit = 16 << 20

// setup keeps what the output needs in one cluster.
type setup struct {
	*connection
	cfg *Config
	o   *Options
}

// Setup makes the cluster have what the output needs, and says what it changed. It may
// be run as often as one likes. With role it makes the role too.
func Setup(ctx context.Context, cfg *Config, o *Options, role bool) ([]Change, error) {
	s, err := newSetup(cfg, o)
	if err != nil {
		return nil, err
	}
	list := resources(cfg.Flavor, o)
	if role {
		list = append(list, access(cfg.Flavor)...)
	}
	var changes []Change
	renew := false
	for i := range list {
		done, err := s.put(ctx, &list[i])
		if err != nil {
			return changes, fmt.Errorf("%s %s: %w", list[i].Kind, list[i].Name, err)
		}
		renew = renew || done == "updated" && list[i].Kind != "role"
		changes = append(changes, Change{list[i].Kind, list[i].Name, done})
	}
	if renew {
		rolled, err := s.rollover(ctx)
		changes = append(changes, rolled...)
		if err != nil {
			return changes, err
		}
	}
	if cfg.Flavor == OpenSearch && o.Retention != "" {
		changes = append(changes, Change{"retention", o.Retention, "not set: OpenSearch deletes old indices by an ISM policy, see docs/elasticsearch.md;"})
	}
	return changes, nil
}

func newSetup(cfg *Config, o *Options) (*setup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	return &setup{c, cfg, o}, nil
}

// put creates or replaces a resource, unless it is there as it should be.
func (s *setup) put(ctx context.Context, r *resource) (string, error) {
	is, err := s.get(ctx, r)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(r.Body)
	if err != nil {
		return "", err
	}
	var want map[string]any
	if err := json.Unmarshal(body, &want); err != nil {
		return "", err
	}
	if is != nil && within(want, is) {
		return "unchanged", nil
	}
	if v, ok := version(is); ok && v > templateVersion {
		return "", fmt.Errorf("version %d is there, and this is version %d: use the newer tidewatch, or --delete first", v, templateVersion)
	}
	answer, err := s.do(ctx, request{http.MethodPut, r.path, body}, answerLimit)
	if err != nil {
		return "", err
	}
	if answer.status/100 != 2 {
		return "", errors.New(answer.said() + hintSetup(answer.status))
	}
	if is != nil {
		return "updated", nil
	}
	return "created", nil
}

// get returns a resource as the cluster has it, or nil.
func (s *setup) get(ctx context.Context, r *resource) (map[string]any, error) {
	answer, err := s.do(ctx, request{http.MethodGet, r.path, nil}, answerLimit)
	switch {
	case err != nil:
		return nil, err
	case answer.status == http.StatusNotFound:
		return nil, nil
	case answer.status != http.StatusOK:
		return nil, errors.New(answer.said() + hintSetup(answer.status))
	}
	// {"component_templates":[{"name":…,"component_template":{…}}]}, the like for index
	// templates, and {"<name>":{…}} for roles.
	var list map[string]json.RawMessage
	if err := json.Unmarshal(answer.body, &list); err != nil {
		return nil, err
	}
	var entries []map[string]json.RawMessage
	inner := []byte(nil)
	switch {
	case list["component_templates"] != nil:
		err = json.Unmarshal(list["component_templates"], &entries)
		if len(entries) == 1 {
			inner = entries[0]["component_template"]
		}
	case list["index_templates"] != nil:
		err = json.Unmarshal(list["index_templates"], &entries)
		if len(entries) == 1 {
			inner = entries[0]["index_template"]
		}
	default:
		inner = list[r.Name]
	}
	if err != nil || inner == nil {
		return nil, err
	}
	var is map[string]any
	err = json.Unmarshal(inner, &is)
	return is, err
}

// version returns the version that a resource of ours bears.
func version(is map[string]any) (int, bool) {
	for _, key := range []string{"_meta", "metadata"} {
		if m, ok := is[key].(map[string]any); ok && m["managed_by"] == "tidewatch" {
			v, ok := m["version"].(float64)
			return int(v), ok
		}
	}
	return 0, false
}

// within reports whether all that want says is so in is: servers add defaults, and
// write numbers and truths in settings as texts.
func within(want, is any) bool {
	switch w := want.(type) {
	case map[string]any:
		i, ok := is.(map[string]any)
		if !ok {
			return len(w) == 0 && is == nil
		}
		for k, v := range w {
			if !within(v, i[k]) {
				return false
			}
		}
		return true
	case []any:
		i, ok := is.([]any)
		if !ok || len(i) != len(w) {
			return false
		}
		for n := range w {
			if !within(w[n], i[n]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, is) || is != nil && fmt.Sprint(want) == fmt.Sprint(is)
}

// rollover gives the data streams that are there a new backing index, which has the
// new mapping.
func (s *setup) rollover(ctx context.Context) ([]Change, error) {
	answer, err := s.do(ctx, request{http.MethodGet, "/_resolve/index/logs-tidewatch.*", nil}, answerLimit)
	if err != nil {
		return nil, err
	}
	var found struct {
		Streams []struct{ Name string } `json:"data_streams"`
	}
	if answer.status != http.StatusOK {
		return []Change{{"data streams", "", "not looked for (" + answer.said() + "): they take the new templates at their next rollover;"}}, nil
	}
	if err := json.Unmarshal(answer.body, &found); err != nil {
		return nil, err
	}
	var changes []Change
	for _, d := range found.Streams {
		if answer, err = s.do(ctx, request{http.MethodPost, "/" + d.Name + "/_rollover", nil}, answerLimit); err != nil {
			return changes, err
		}
		if answer.status/100 != 2 {
			return changes, fmt.Errorf("rollover of %s: %s", d.Name, answer.said())
		}
		changes = append(changes, Change{"data stream", d.Name, "rolled over"})
	}
	return changes, nil
}

// Delete takes back what Setup made. Data streams stay, with their documents.
func Delete(ctx context.Context, cfg *Config) ([]Change, error) {
	s, err := newSetup(cfg, &Options{})
	if err != nil {
		return nil, err
	}
	list := append(resources(cfg.Flavor, &Options{}), access(cfg.Flavor)...)
	var changes []Change
	for i := len(list) - 1; i >= 0; i-- {
		r := &list[i]
		answer, err := s.do(ctx, request{http.MethodDelete, r.path, nil}, answerLimit)
		if err != nil {
			return changes, fmt.Errorf("%s %s: %w", r.Kind, r.Name, err)
		}
		done := "deleted"
		switch {
		case answer.status == http.StatusNotFound:
			done = "absent"
		case answer.status/100 != 2 && r.Kind == "role":
			done = "left alone (" + answer.said() + ")"
		case answer.status/100 != 2:
			return changes, fmt.Errorf("%s %s: %s", r.Kind, r.Name, answer.said()+hintInUse(answer))
		}
		changes = append(changes, Change{r.Kind, r.Name, done})
	}
	return changes, nil
}

// hintInUse says why a template cannot be deleted.
func hintInUse(r *reply) string {
	if strings.Contains(string(r.body), "in use by") || strings.Contains(string(r.body), "used by data streams") {
		return "; delete the data streams first: DELETE /_data_stream/logs-tidewatch.*"
	}
	return ""
}

func hintSetup(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "; check username and password, or api_key"
	case http.StatusForbidden:
		return "; setup needs the cluster privileges manage_index_templates and, with --role, manage_security"
	}
	return ""
}

// APIKey asks the cluster for an API key that may do what the output does, and nothing
// else. It returns the key as the configuration takes it.
func APIKey(ctx context.Context, cfg *Config, name string) (string, error) {
	s, err := newSetup(cfg, &Options{})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(apiKeyRequest(name))
	if err != nil {
		return "", err
	}
	answer, err := s.do(ctx, request{http.MethodPost, "/_security/api_key", body}, answerLimit)
	if err != nil {
		return "", err
	}
	if answer.status/100 != 2 {
		return "", errors.New(answer.said() + hintSetup(answer.status))
	}
	var key struct{ Encoded string }
	if err := json.Unmarshal(answer.body, &key); err != nil || key.Encoded == "" {
		return "", errors.New("the answer holds no key") // and might hold half of one
	}
	return key.Encoded, nil
}

func apiKeyRequest(name string) map[string]any {
	role := access(Elasticsearch)[0].Body
	return map[string]any{
		"name":             name,
		"role_descriptors": map[string]any{"tidewatch_writer": map[string]any{"cluster": role["cluster"], "indices": role["indices"]}},
	}
}
