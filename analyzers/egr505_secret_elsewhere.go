package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportSecretElsewhere reports a Secret that an egress gateway or a waypoint is to use
// and that the input has in another namespace alone, or under a name that is a letter
// or two away: a proxy is given those of its own namespace (istio
// pilot/pkg/model/credentials/resource.go ParseResourceName). Without the Secret istiod
// sends nothing under its name (pilot/pkg/xds/sds.go), and Envoy opens no connection.
// The finding shows no request: the simulation takes every Secret for there, because
// hardly any is in the manifests, so that its verdict would say that the request gets
// out.
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
	if other == nil && in.nearSecret(name, "") == nil {
		return
	}
	c, proxy, home := &collected{}, "", ""
	take := func(a *attempt) {
		i := slices.IndexFunc(a.Trace.Hops, func(h flow.Hop) bool {
			return h.At != flow.AtSidecar && slices.Contains(h.Because, flow.Because{Object: s.rule.Object, Field: s.field + ".mode"})
		})
		if i < 0 || have(namespaceOf(a.Trace.Hops[i].Proxy)) != nil {
			return
		}
		if proxy == "" {
			h := a.Trace.Hops[i]
			proxy, home = proxyText(h), namespaceOf(h.Proxy)
		}
		c.add(a)
	}
	for a := range in.attempts(s.covers, func(via flow.Via, _ flow.Reason) bool { return via == flow.ViaGateway }) {
		take(a)
	}
	for _, a := range in.waypointAttempts() {
		if s.covers(a.To) {
			take(a)
		}
	}
	if c.first == nil {
		return
	}
	f := Finding{
		Object: s.rule.Object, Field: s.field + ".credentialName", Severity: Warning, Workloads: c.workloads(),
		Label: "looked for in the namespace of the proxy", Help: fmt.Sprintf("create Secret %s/%s", home, name),
	}
	var where, todo string
	if other != nil {
		where, todo = fmt.Sprintf("has in namespace %q and not in %q, whose Secrets %s is given", other.Namespace, home, proxy), "move the Secret there"
		f.Related = []Related{{other, "metadata.namespace", "no proxy of another namespace is given this one"}}
	} else {
		meant := in.nearSecret(name, home)
		if meant == nil {
			return
		}
		where, todo = fmt.Sprintf("does not have; %s is given those of namespace %q", proxy, home), fmt.Sprintf("is %q meant?", meant.Name)
		f.Related = []Related{{meant, "metadata.name", "no other object uses this one"}}
	}
	f.Message = fmt.Sprintf("%s names Secret %q, which the input %s: without it no connection is opened, and requests of %s to %s fail; %s",
		s.rule, name, where, upTo3(f.Workloads), upTo3(c.hosts), todo)
	in.pass.Report(f)
}

// nearSecret returns a Secret of a namespace, of any if it is "", whose name is a letter
// or two away from one, and which no other DestinationRule names; nil if there is none.
func (in *intent) nearSecret(name, namespace string) *manifest.Object {
	for _, o := range in.pass.Mesh.Secrets {
		if (namespace == "" || o.Namespace == namespace) && near(o.Name, name) &&
			!slices.ContainsFunc(originations(in.pass), func(s tlsSetting) bool { return s.GetCredentialName() == o.Name }) {
			return o
		}
	}
	return nil
}

// proxyText names the gateway or waypoint of a hop.
func proxyText(h flow.Hop) string {
	if h.At == flow.AtWaypoint {
		return "waypoint " + h.Proxy
	}
	return "egress gateway " + h.Proxy
}
