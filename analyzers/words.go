package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// maxNamed is how many things a message names before it only counts.
const maxNamed = 3

// upTo3 names the first few of a list and says how many more there are:
// "a, b, c +4 more".
func upTo3(items []string) string {
	if len(items) <= maxNamed {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s +%d more", strings.Join(items[:maxNamed], ", "), len(items)-maxNamed)
}

// counted is "1 workload" or "3 workloads".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// hasLabels reports whether all labels of a selector are among some labels.
//
//go:noinline
func hasLabels(labels, selector map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// titleOf names an object in messages. Helm values are no object of a cluster.
func titleOf(o *manifest.Object) string {
	if o.Kind == manifest.KindValues {
		return "values file " + o.Name
	}
	return o.String()
}
