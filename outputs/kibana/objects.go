package kibana

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// version counts changes of the objects. An import does not replace newer ones.
const version = 1

// Stamps of the form that the objects are written in. Kibana brings older ones up to
// date, and refuses those that are newer than itself.
const (
	stampCore      = "8.8.0"
	stampDataView  = "8.0.0"
	stampSearch    = "8.0.0"
	stampDashboard = "8.9.0"
)

// savedObject is one line of an import.
type savedObject struct {
	Type       string      `json:"type"`
	ID         string      `json:"id"`
	Attributes object      `json:"attributes"`
	References []reference `json:"references"`
	Managed    bool        `json:"managed"`
	Core       string      `json:"coreMigrationVersion"`
	Stamp      string      `json:"typeMigrationVersion"`
}

type reference struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// searchSource is the reference by which a search names its data view.
const searchSource = "kibanaSavedObjectMeta.searchSourceJSON.index"

// spaces are the names that Kibana takes for spaces.
var spaces = regexp.MustCompile(`^[a-z0-9_-]{1,100}$`)

// site is where the objects are for: two spaces of one Kibana must not have objects of
// the same id, since an import into the second would give them others, which no link
// knows.
type site struct{ prefix string }

func newSite(space string) (site, error) {
	switch {
	case space == "" || space == "default":
		return site{"tidewatch-"}, nil
	case !spaces.MatchString(space):
		return site{}, fmt.Errorf("space %q: allowed are a-z, 0-9, _ and -", space)
	}
	return site{"tidewatch-" + space + "-"}, nil
}

func (s site) id(name string) string { return s.prefix + name }

// NDJSON returns all objects for a space of Kibana, as its import takes them. The same
// version always gives the same bytes.
func NDJSON(space string) ([]byte, error) {
	s, err := newSite(space)
	if err != nil {
		return nil, err
	}
	objects := s.objects()
	sum := sha256.Sum256(encode(objects))
	for i := range objects {
		if objects[i].ID == s.id("overview") {
			a := objects[i].Attributes
			a["description"] = a["description"].(string) + signature{version, hex.EncodeToString(sum[:8])}.String()
		}
	}
	return encode(objects), nil
}

// signature says which objects are there. It stands at the end of the overview's
// description: dashboards have no place for it that Kibana keeps.
type signature struct {
	version int
	hash    string
}

func (s signature) String() string {
	return fmt.Sprintf(" (tidewatch dashboards %d-%s)", s.version, s.hash)
}

var signed = regexp.MustCompile(`\(tidewatch dashboards (\d{1,6})-([0-9a-f]{16})\)$`)

// signatureOf reads the signature in a description.
func signatureOf(description string) (s signature, ok bool) {
	m := signed.FindStringSubmatch(description)
	if m == nil {
		return s, false
	}
	s.version, _ = strconv.Atoi(m[1]) // six digits
	s.hash = m[2]
	return s, true
}

func encode(objects []savedObject) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i := range objects {
		_ = e.Encode(&objects[i]) // texts, numbers and lists
	}
	return b.Bytes()
}

// text returns JSON as a text, the way saved objects nest it.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // texts, numbers and lists
	return strings.TrimSpace(b.String())
}

func (s site) objects() []savedObject {
	all := []savedObject{
		s.dataView(findings, "tidewatch: findings", "logs-tidewatch.finding-*"),
		s.dataView(records, "tidewatch: records", "logs-tidewatch.*-*,-logs-tidewatch.finding-*"),
		s.search("findings", &panel{Title: "tidewatch: findings", View: findings, Columns: findingColumns, Sort: "@timestamp"}),
		s.search("records", &recordsSearch),
	}
	for _, d := range dashboards() {
		all = append(all, s.dashboard(&d)...)
	}
	return all
}

// recordsSearch is where links from findings lead.
var recordsSearch = panel{
	Title: "tidewatch: records", View: records, Sort: "@timestamp",
	Columns: []string{"event.dataset", "source.ip", "source.port", "destination.ip", "destination.port", "destination.domain", "network.bytes", "dns.question.name", "tls.client.server_name", "tidewatch.uid"},
}

func (s site) dataView(v view, name, pattern string) savedObject {
	return savedObject{
		Type: "index-pattern", ID: s.id(string(v)), References: []reference{}, Core: stampCore, Stamp: stampDataView,
		Attributes: object{"title": pattern, "name": name, "timeFieldName": "@timestamp", "fieldFormatMap": text(s.formats(v))},
	}
}

func (s site) search(name string, p *panel) savedObject {
	return savedObject{
		Type: "search", ID: s.id(name), Core: stampCore, Stamp: stampSearch,
		References: []reference{{"index-pattern", s.id(string(p.View)), searchSource}},
		Attributes: object{
			"title": p.Title, "description": "", "columns": p.Columns, "sort": []any{[]any{p.Sort, "desc"}},
			"grid": object{}, "hideChart": false, "isTextBasedQuery": false,
			"kibanaSavedObjectMeta": object{"searchSourceJSON": text(object{
				"query": object{"query": kql(p.Where), "language": "kuery"}, "filter": []any{}, "indexRefName": searchSource,
			})},
		},
	}
}

// dashboard returns a dashboard, after the saved searches that it shows.
func (s site) dashboard(d *dashboard) []savedObject {
	page := savedObject{Type: "dashboard", ID: s.id(d.ID), References: []reference{}, Core: stampCore, Stamp: stampDashboard}
	var searches []savedObject
	var panels []any
	y, n := 0, 0
	for _, r := range d.Rows {
		x := 0
		for i := range r.panels {
			p := &r.panels[i]
			n++
			id := fmt.Sprint("p", n)
			is := object{"panelIndex": id, "gridData": object{"x": x, "y": y, "w": p.Width, "h": r.height, "i": id}, "title": p.Title, "version": stampDashboard}
			if p.Shape == list {
				search := *p
				search.Title = d.Title + ": " + p.Title
				found := s.search(fmt.Sprintf("%s-%s", d.ID, id), &search)
				searches = append(searches, found)
				is["type"], is["panelRefName"], is["embeddableConfig"] = "search", "panel_"+id, object{"enhancements": object{}}
				page.References = append(page.References, reference{"search", found.ID, id + ":panel_" + id})
			} else {
				attributes := p.lens()
				view := reference{"index-pattern", s.id(string(p.View)), "indexpattern-datasource-layer-" + layer}
				attributes["references"] = []reference{view}
				is["type"], is["embeddableConfig"] = "lens", object{"attributes": attributes, "enhancements": object{}}
				view.Name = id + ":" + view.Name
				page.References = append(page.References, view)
			}
			panels = append(panels, is)
			x += p.Width
		}
		y += r.height
	}
	page.Attributes = object{
		"title": d.Title, "description": d.Description, "version": 1, "timeRestore": true, "timeFrom": "now-7d", "timeTo": "now",
		"panelsJSON":            text(panels),
		"optionsJSON":           text(object{"useMargins": true, "syncColors": false, "syncCursor": true, "syncTooltips": false, "hidePanelTitles": false}),
		"kibanaSavedObjectMeta": object{"searchSourceJSON": text(object{"query": object{"query": "", "language": "kuery"}, "filter": []any{}})},
	}
	if d.Control != "" {
		s.control(&page, d.Control)
	}
	return append(searches, page)
}

// control puts a list of the values of a field on top of a dashboard.
func (s site) control(page *savedObject, field string) {
	const id = "control"
	page.Attributes["controlGroupInput"] = object{
		"controlStyle": "oneLine", "chainingSystem": "HIERARCHICAL",
		"ignoreParentSettingsJSON": text(object{"ignoreFilters": false, "ignoreQuery": false, "ignoreTimerange": false, "ignoreValidations": false}),
		"panelsJSON": text(object{id: object{
			"type": "optionsListControl", "order": 0, "grow": true, "width": "medium",
			"explicitInput": object{"id": id, "fieldName": field, "title": "Host", "selectedOptions": []any{}},
		}}),
	}
	page.References = append(page.References, reference{"index-pattern", s.id(string(findings)), "controlGroup_" + id + ":optionsListDataView"})
}
