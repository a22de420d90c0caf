package analyzers

import (
	"fmt"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportUnreadRoutes reports servers with certificates of their own whose routes are
// not in the block that such a server reads: whether clients take the certificates
// nobody can tell from manifests, but nothing forwards either way.
func (in *intent) reportUnreadRoutes() {
	type key struct {
		object *manifest.Object
		field  string
	}
	var found byKey[key]
	faults := map[key]*fault{}
	for a := range in.steered(flow.CustomCert) {
		if a.By == nil || a.By.Route.OfGatewayAPI != "" || a.Trace.Reason != flow.CustomCert {
			continue
		}
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil {
			continue
		}
		if f := in.unreadRoutes(a, in.server(l, a.Trace, a.To.Host)); f != nil {
			k := key{f.object, f.field}
			faults[k] = f
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		c, f := found.of[k], faults[k]
		in.pass.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s %s sent to %s on %s, where nothing forwards %s whatever certificate it shows (%s): requests of %s fail; %s",
				upTo3(c.hosts), c.are(), c.first.By.gateway(), portsText(c.ports), pronoun(c), f.text, upTo3(c.workloads()), f.todo),
			Label: "the way through the gateway ends here", Help: f.todo,
			Related: []Related{c.first.By.related()},
		}))
	}
}

// unreadRoutes says why none of the VirtualServices that are bound to a server has a
// rule for it; nil where one has, or none is bound.
func (in *intent) unreadRoutes(a *attempt, s *model.GatewayServer) *fault {
	h := host.Name(a.To.Host)
	if s == nil || !serves(s, h) {
		return nil
	}
	var first *fault
	for _, vs := range in.boundTo(s, h) {
		f := conditionFault(vs, s, h)
		if f == nil {
			return nil
		}
		if first == nil {
			first = f
		}
	}
	return first
}
