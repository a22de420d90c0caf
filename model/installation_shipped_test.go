package model

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"istio.io/istio/manifests"
)

// TestShippedIsIstios holds installation_shipped.json against the manifests of
// the Istio version in go.mod. `go test ./model -run TestShippedIsIstios -update`
// writes it.
func TestShippedIsIstios(t *testing.T) {
	var lines []string
	err := fs.WalkDir(manifests.FS, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !isShipped(name) {
			return err
		}
		data, err := manifests.FS.ReadFile(name)
		if err != nil {
			return err
		}
		content, err := yaml.YAMLToJSON(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		lines = append(lines, fmt.Sprintf("%q:%s", name, content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A line for each file keeps changes readable.
	want := []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
	if *update {
		if err := os.WriteFile("installation_shipped.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(shippedFile, want) {
		t.Error("installation_shipped.json is not what Istio ships: go test ./model -run TestShippedIsIstios -update")
	}
}

// isShipped tells the profiles, and of the charts that are read their values and
// what a profile, a compatibility version or a platform changes of them.
func isShipped(name string) bool {
	dir, file := path.Split(name)
	if dir == "profiles/" {
		return strings.HasSuffix(file, ".yaml")
	}
	for _, chart := range readCharts() {
		switch dir {
		case "charts/" + chart + "/":
			return file == "values.yaml"
		case "charts/" + chart + "/files/":
			return strings.HasPrefix(file, "profile-")
		}
	}
	return false
}

// readCharts are the charts that [shipped] is asked for.
func readCharts() []string {
	charts := []string{"istio-control/istio-discovery"}
	for _, c := range gatewayCharts {
		charts = append(charts, c.path)
	}
	return charts
}
