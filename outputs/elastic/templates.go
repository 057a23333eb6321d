package elastic

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"tidewatch/outputs"
)

// templateVersion counts changes of what the templates say. Setup replaces older ones.
const templateVersion = 3

// fieldLimit is how many fields an index may have: far more than documents have, so
// that only a mistake reaches it.
const fieldLimit = 2000

// Options say how data streams are kept.
type Options struct {
	// Retention is for how long, as Elasticsearch writes it: "30d". "" is for ever.
	Retention string
	Shards    int // 0: the server's default
	Replicas  int // -1: the server's default
	// FailureStore makes the server keep documents that do not fit (Elasticsearch 8.19
	// and later). Without it they become dead letters here.
	FailureStore bool
}

// mapping returns the mapping of the fields. What is not among them is kept in the
// document, and cannot be searched for: no input makes a field.
func mapping(fields []outputs.DocumentField) map[string]any {
	root := map[string]any{"dynamic": false, "date_detection": false, "numeric_detection": false, "properties": map[string]any{}}
	var templates []any
	for _, f := range fields {
		if f.Type == outputs.Open {
			object(root, f.Name)["dynamic"] = true
			templates = append(templates, openTemplates(f.Name)...)
			continue
		}
		parent, name := root, f.Name
		if at := strings.LastIndexByte(f.Name, '.'); at >= 0 {
			parent, name = object(root, f.Name[:at]), f.Name[at+1:]
		}
		parent["properties"].(map[string]any)[name] = property(f.Type)
	}
	if templates != nil {
		root["dynamic_templates"] = templates
	}
	return root
}

// object returns the mapping of the object at path, made if it is not there.
func object(root map[string]any, path string) map[string]any {
	for _, name := range strings.Split(path, ".") {
		props := root["properties"].(map[string]any)
		o, ok := props[name].(map[string]any)
		if !ok {
			o = map[string]any{"properties": map[string]any{}}
			props[name] = o
		}
		root = o
	}
	return root
}

func property(t outputs.FieldType) map[string]any {
	p := map[string]any{"type": string(t)}
	if t == outputs.Keyword {
		p["ignore_above"] = 1024 // longer ones are kept, and not indexed
	}
	return p
}

// openTemplates map the members of an open object by what they are. A whole number may
// have a fraction next time, so that all numbers are doubles.
func openTemplates(path string) []any {
	one := func(kind string, p map[string]any) any {
		return map[string]any{path + "-" + kind: map[string]any{"path_match": path + ".*", "match_mapping_type": kind, "mapping": p}}
	}
	return []any{
		one("string", property(outputs.Keyword)),
		one("long", property(outputs.Double)),
		one("double", property(outputs.Double)),
		one("boolean", property(outputs.Boolean)),
	}
}

// resource is one thing that Setup keeps in the cluster.
type resource struct {
	Kind, Name string
	path       string
	Body       map[string]any
}

// family is the data streams that share a template.
type family struct {
	name, pattern string
	priority      int
	fields        []outputs.DocumentField
}

func families() []family {
	return []family{
		{"finding", "logs-tidewatch.finding-*", 510, outputs.FindingFields},
		{"records", "logs-tidewatch.*-*", 500, outputs.RecordFields},
	}
}

// resources returns what the cluster must have, in the order in which it must get it.
func resources(flavor string, o *Options) []resource {
	var list []resource
	meta := func() map[string]any { return map[string]any{"managed_by": "tidewatch", "version": templateVersion} }
	list = append(list, resource{"component template", "tidewatch@settings", "/_component_template/tidewatch@settings", map[string]any{
		"_meta": meta(), "version": templateVersion, "template": map[string]any{"settings": settings(flavor, o)},
	}})
	for _, f := range families() {
		name := "tidewatch-" + f.name + "@mappings"
		list = append(list, resource{"component template", name, "/_component_template/" + name, map[string]any{
			"_meta": meta(), "version": templateVersion, "template": map[string]any{"mappings": mapping(f.fields)},
		}})
		list = append(list, resource{"index template", "logs-tidewatch." + f.name, "/_index_template/logs-tidewatch." + f.name, indexTemplate(flavor, o, &f, name, meta())})
	}
	for i := range list {
		list[i].sign("_meta")
	}
	return list
}

// sign adds to the metadata a hash of what the body says: what is there is compared
// with it, since the server adds to a body, and what is missing from one shows in
// nothing else.
func (r *resource) sign(meta string) {
	b, _ := json.Marshal(r.Body) // texts, numbers and lists
	sum := sha256.Sum256(b)
	r.Body[meta].(map[string]any)["hash"] = hex.EncodeToString(sum[:8])
}

func indexTemplate(flavor string, o *Options, f *family, mappings string, meta map[string]any) map[string]any {
	t := map[string]any{}
	composed := []string{"tidewatch@settings", mappings}
	body := map[string]any{
		"_meta": meta, "version": templateVersion, "index_patterns": []string{f.pattern}, "priority": f.priority,
		"data_stream": map[string]any{}, "template": t,
	}
	if flavor == Elasticsearch {
		lifecycle := map[string]any{"enabled": true}
		if o.Retention != "" {
			lifecycle["data_retention"] = o.Retention
		}
		t["lifecycle"] = lifecycle
		if o.FailureStore {
			t["data_stream_options"] = map[string]any{"failure_store": map[string]any{"enabled": true}}
		}
		// The place for changes that an upgrade leaves alone.
		composed = append(composed, "tidewatch@custom")
		body["ignore_missing_component_templates"] = []string{"tidewatch@custom"}
	}
	body["composed_of"] = composed
	return body
}

func settings(flavor string, o *Options) map[string]any {
	index := map[string]any{
		"codec":   "best_compression",
		"mapping": map[string]any{"total_fields": map[string]any{"limit": fieldLimit}},
	}
	if o.Shards > 0 {
		index["number_of_shards"] = o.Shards
	}
	if o.Replicas >= 0 {
		index["number_of_replicas"] = o.Replicas
	}
	return map[string]any{"index": index}
}

// Print returns the requests that Setup would send, as Kibana's console takes them.
func Print(cfg *Config, o *Options) string {
	var b strings.Builder
	for _, r := range append(resources(cfg.Flavor, o), access(cfg.Flavor)...) {
		body, _ := json.MarshalIndent(r.Body, "", "  ") // texts, numbers and lists
		fmt.Fprintf(&b, "# %s %s\nPUT %s\n%s\n\n", r.Kind, r.Name, r.path, body)
	}
	return b.String()
}
