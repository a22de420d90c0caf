package judge

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
)

// TestCases puts the flows of the cases in testdata/mesh to the judge. Only
// the fields that a case names are compared; a status of 0 means none.
func TestCases(t *testing.T) {
	dirs, err := filepath.Glob("../testdata/mesh/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			manifests, err := ReadDir(filepath.Join(dir, "manifests"))
			if err != nil {
				t.Fatal(err)
			}
			for _, rejected := range manifests.Rejected {
				t.Errorf("rejected: %v", rejected)
			}
			mesh, err := Open(manifests)
			if err != nil {
				t.Fatal(err)
			}
			defer mesh.Close()
			file, err := os.Open(filepath.Join(dir, "calls.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			lines := bufio.NewScanner(file)
			for lines.Scan() {
				var call struct {
					flow.Flow
					Expect map[string]any `json:"expect"`
				}
				if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
					t.Fatal(err)
				}
				answer := mesh.Trace(call.Flow)
				js, err := json.Marshal(answer)
				if err != nil {
					t.Fatal(err)
				}
				var got map[string]any
				if err := json.Unmarshal(js, &got); err != nil {
					t.Fatal(err)
				}
				for _, field := range unexpected(call.Expect, got) {
					t.Errorf("%s %s://%s:%d%s: %s is %v, want %v\n%s", call.ID, call.Scheme, call.Host, call.Port, call.Path, field, got[field], call.Expect[field], js)
				}
			}
		})
	}
}

// unexpected lists the fields of want that got does not have.
func unexpected(want, got map[string]any) []string {
	var out []string
	for field, value := range want {
		if list, ok := value.([]any); ok {
			found, _ := got[field].([]any)
			if len(found) != len(list) {
				out = append(out, field)
				continue
			}
			for i := range list {
				if len(unexpected(list[i].(map[string]any), found[i].(map[string]any))) > 0 {
					out = append(out, field)
				}
			}
			continue
		}
		if value == float64(0) && field == "http_status" && got[field] == nil {
			continue
		}
		if !reflect.DeepEqual(value, got[field]) {
			out = append(out, field)
		}
	}
	return out
}
