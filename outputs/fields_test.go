package outputs

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page of the documentation has the lists of fields, as they are in the code.
func TestFieldPage(t *testing.T) {
	const path = "../docs/elasticsearch.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, fields := range map[string][]DocumentField{"findings": FindingFields, "records": RecordFields} {
		var table strings.Builder
		table.WriteString("| field | type | |\n|---|---|---|\n")
		for _, f := range fields {
			fmt.Fprintf(&table, "| `%s` | %s | %s |\n", f.Name, f.Type, f.Says)
		}
		head, rest, ok := strings.Cut(page, "<!-- "+name+" -->\n")
		_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
		if !ok || !ok2 {
			t.Fatalf("%s has no place for %s", path, name)
		}
		page = head + "<!-- " + name + " -->\n" + table.String() + "<!-- end -->" + tail
	}
	if page == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code says: go test ./outputs -run TestFieldPage -update", path)
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}
