package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportSecretElsewhere reports a Secret that an egress gateway is to use and that the
// input has in another namespace alone: a proxy is given those of its own (istio
// pilot/pkg/model/credentials/resource.go ParseResourceName).
func (in *intent) reportSecretElsewhere(s tlsSetting) {
	name := s.GetCredentialName()
	have := func(namespace string) *manifest.Object {
		for _, o := range in.pass.Mesh.Secrets {
			if (o.Name == name || o.Name == name+"-cacert") && (namespace == "" || o.Namespace == namespace) {
				return o
			}
		}
		return nil
	}
	other := have("")
	if other == nil {
		return
	}
	c, gateway, home := &collected{}, "", ""
	for a := range in.attempts(s.covers, func(via flow.Via, _ flow.Reason) bool { return via == flow.ViaGateway }) {
		i := slices.IndexFunc(a.Trace.Hops, func(h flow.Hop) bool {
			return h.At == flow.AtGateway && slices.Contains(h.Because, flow.Because{Object: s.rule.Object, Field: s.field + ".mode"})
		})
		if i < 0 || have(namespaceOf(a.Trace.Hops[i].Proxy)) != nil {
			continue
		}
		if gateway == "" {
			gateway, home = a.Trace.Hops[i].Proxy, namespaceOf(a.Trace.Hops[i].Proxy)
		}
		c.add(a)
	}
	if c.first == nil {
		return
	}
	in.pass.Report(c.finding(Finding{
		Object: s.rule.Object, Field: s.field + ".credentialName", Severity: Warning,
		Message: fmt.Sprintf("%s names Secret %q, which the input has in namespace %q and not in %q, whose Secrets egress gateway %s is given: without it requests of %s to %s fail; move the Secret there",
			s.rule, name, other.Namespace, home, gateway, upTo3(c.workloads()), upTo3(c.hosts)),
		Label: "looked for in the gateway's namespace", Help: fmt.Sprintf("create Secret %s/%s", home, name),
		Related: []Related{{other, "metadata.namespace", "no gateway of another namespace is given this one"}},
	}))
}
