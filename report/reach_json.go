package report

import (
	"io"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

// ReachJSON writes a matrix as one object, a rectangle a line: the tuples of
// docs/json.md.
func ReachJSON(w io.Writer, m *reach.Matrix, in Input, o Options) error {
	p := newPrinter(w)
	names := workloadNames(m.Workloads)
	head := []struct {
		name  string
		value any
	}{
		{"schema_version", SchemaVersion},
		{"tool", toolOf(o)},
		{"partial", in.Partial},
		{"assumptions", orEmpty(m.Assumptions)},
		{"notes", orEmpty(in.Notes)},
		{"workloads", namesOf(m.Workloads, names)},
		{"destinations", orEmpty(m.Destinations)},
	}
	p.printf("{\n")
	for _, field := range head {
		p.printf("  %q: ", field.name)
		p.value(field.value)
		p.printf(",\n")
	}
	p.printf("  \"rectangles\": [")
	for i, r := range m.Rectangles {
		if i > 0 {
			p.printf(",")
		}
		p.printf("\n    ")
		p.value(jsonRectangle{namesOf(r.Workloads, names), orEmpty(r.Destinations), orEmpty(r.Answers)})
	}
	if len(m.Rectangles) > 0 {
		p.printf("\n  ")
	}
	p.printf("]\n}\n")
	return p.close()
}

type jsonRectangle struct {
	Workloads    []string            `json:"workloads"`
	Destinations []reach.Destination `json:"destinations"`
	Answers      []reach.Answer      `json:"answers"`
}

// value writes v as JSON without line ends.
func (p *printer) value(v any) {
	if p.err != nil {
		return
	}
	var b []byte
	if b, p.err = encode(v, ""); p.err == nil {
		p.write(b)
	}
}

// orEmpty makes nil an empty list, which JSON writes as [].
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// workloadNames names workloads as a flow's "from" takes them:
// "namespace/name", or "namespace/kind/name" where that is ambiguous.
func workloadNames(workloads []*model.Workload) map[*model.Workload]string {
	count := map[string]int{}
	for _, w := range workloads {
		count[w.ID()]++
	}
	names := make(map[*model.Workload]string, len(workloads))
	for _, w := range workloads {
		names[w] = w.ID()
		if count[w.ID()] > 1 {
			names[w] = w.Namespace + "/" + strings.ToLower(w.Kind) + "/" + w.Name
		}
	}
	return names
}

func namesOf(workloads []*model.Workload, names map[*model.Workload]string) []string {
	out := make([]string, len(workloads))
	for i, w := range workloads {
		name, known := names[w]
		if !known {
			name = w.ID()
		}
		out[i] = name
	}
	return out
}
