package analyzers

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// split returns the edits that take a port out of the ServiceEntry that clients
// see and give the gateway an entry of its own: it needs one with all ports,
// since of the entries of one host in several namespaces a proxy knows one alone,
// that of its own namespace first (istio pilot/pkg/model/sidecar.go
// DefaultSidecarScopeForNamespace). portField is the item of spec.ports. nil
// where the entry is more than names and ports, or lies in the gateway's
// namespace.
func split(entry *model.ServiceEntry, portField string, gateway *model.Workload) []Edit {
	spec := entry.Spec
	if entry.Namespace == gateway.Namespace || len(spec.GetPorts()) < 2 || len(spec.GetAddresses()) > 0 ||
		len(spec.GetEndpoints()) > 0 || spec.GetWorkloadSelector() != nil {
		return nil
	}
	text, err := protojson.Marshal(spec)
	if err != nil {
		return nil
	}
	var fields map[string]any
	if json.Unmarshal(text, &fields) != nil {
		return nil
	}
	fields["exportTo"] = []string{"."}
	own, err := yaml.Marshal(map[string]any{
		"apiVersion": entry.APIVersion, "kind": "ServiceEntry",
		"metadata": map[string]any{"name": entry.Name + "-gateway", "namespace": gateway.Namespace},
		"spec":     fields,
	})
	if err != nil {
		return nil
	}
	return []Edit{{Object: entry.Object, Field: portField}, {Object: entry.Object, Text: string(own)}}
}

// splitFor returns the split that makes clients need their gateway, and says it
// as text: nil and "" unless the gateway is known and what nothing registers is
// closed for all of them.
func (in *intent) splitFor(object *manifest.Object, portField string, s *steering, clients []*model.Workload) ([]Edit, string) {
	i := slices.IndexFunc(in.pass.Mesh.ServiceEntries, func(e *model.ServiceEntry) bool { return e.Object == object })
	if i < 0 || len(s.Pods) == 0 || slices.ContainsFunc(clients, func(w *model.Workload) bool { _, closed := in.closes(w); return !closed }) {
		return nil, ""
	}
	entry := in.pass.Mesh.ServiceEntries[i]
	edits := split(entry, portField, s.Pods[0])
	if edits == nil {
		return nil, ""
	}
	return edits, fmt.Sprintf("# without %s in ServiceEntry %s, and beside it:\n%s", portField, entry.ID(), edits[1].Text)
}
