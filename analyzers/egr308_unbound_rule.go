package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// reportUnboundRules reports the rules of a VirtualService for hosts outside that
// are for gateways which its own list does not have: proxies get a VirtualService
// only if that list names them (istio pilot/pkg/model/push_context.go
// initVirtualServices), so that such a rule holds nowhere.
func (in *intent) reportUnboundRules(vs *model.MergedVirtualService) {
	if !slices.ContainsFunc(vs.Hosts, func(h host.Name) bool {
		return strings.Contains(string(h), ".") && !inCluster(in.push, h) && in.service(completed(h)) == nil
	}) {
		return
	}
	// A list that is not written means the sidecars alone.
	field := "spec.gateways"
	if len(vs.Spec.GetGateways()) == 0 {
		field = "spec"
	}
	told := map[string]bool{}
	for _, block := range []string{"http", "tls", "tcp"} {
		for _, c := range conditionsOf(vs, block) {
			for _, name := range c.gateways {
				if slices.Contains(vs.Gateways, name) || told[name] {
					continue
				}
				told[name] = true
				who := "Gateway " + name
				effect := "the gateway does not get them"
				if name == model.MeshGateway {
					who, effect = "the sidecars (mesh)", fmt.Sprintf("requests of the mesh for %s do not take them", upTo3(hostNames(vs.Hosts)))
				}
				todo := fmt.Sprintf("add %q to its gateways", name)
				in.pass.Report(Finding{
					Object: vs.Object, Field: field, Severity: Error, Label: fmt.Sprintf("lacks %q", name), Help: todo,
					Message: fmt.Sprintf("%s has rules for %s, which its gateways do not list: they hold nowhere, and %s; %s", vs.Title(), who, effect, todo),
					Related: []Related{{vs.Object, c.field + ".gateways", "this condition never holds"}},
				})
			}
		}
	}
}
