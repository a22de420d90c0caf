package traffic_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// document is an object of a manifest as this test reads it, by itself and not
// with the loader whose positions it checks.
type document struct {
	file     string
	from, to int // lines
	fields   map[string]any
}

// readDocuments returns the documents of a directory by "Kind namespace/name";
// of an object that comes twice the last.
func readDocuments(t *testing.T, dir string) map[string]document {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in %s: %v", dir, err)
	}
	out := map[string]document{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		start := 0
		for i := range len(lines) + 1 {
			if i < len(lines) && lines[i] != "---" {
				continue
			}
			d := document{file: filepath.Base(file), from: start + 1, to: i}
			if err := yaml.Unmarshal([]byte(strings.Join(lines[start:i], "\n")), &d.fields); err != nil {
				t.Fatalf("%s:%d: %v", file, start+1, err)
			}
			out[d.name()] = d
			start = i + 1
		}
	}
	return out
}

// name is the object's, as manifest.Object writes it.
func (d *document) name() string {
	metadata, _ := d.fields["metadata"].(map[string]any)
	kind, _ := d.fields["kind"].(string)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	switch kind {
	case "":
		return "HelmValues " + d.file
	case "Namespace":
		return kind + " " + name
	default:
		return kind + " " + namespace + "/" + name
	}
}

// has reports whether the object has a field; "" is the object itself. The text
// of a ConfigMap goes on as YAML.
func (d *document) has(field string) bool {
	var at any = d.fields
	for field != "" {
		var key string
		switch {
		case strings.HasPrefix(field, "['"):
			key, field, _ = strings.Cut(field[2:], "']")
		case field[0] == '[':
			key, field, _ = strings.Cut(field[1:], "]")
		default:
			field = strings.TrimPrefix(field, ".")
			end := strings.IndexAny(field, ".[")
			if end < 0 {
				end = len(field)
			}
			key, field = field[:end], field[end:]
		}
		if text, isText := at.(string); isText {
			at = nil
			_ = yaml.Unmarshal([]byte(text), &at) // no YAML has no fields
		}
		switch v := at.(type) {
		case map[string]any:
			var ok bool
			if at, ok = v[key]; !ok {
				return false
			}
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n < 0 || n >= len(v) {
				return false
			}
			at = v[n]
		default:
			return false
		}
	}
	return true
}
