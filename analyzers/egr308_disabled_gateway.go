package analyzers

import (
	"fmt"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// reportDisabledGateways reports gateways that an IstioOperator lists and disables
// while routes of the mesh send hosts outside to their Service, which the input does
// not hold otherwise. Those that are defined twice in different ways are left out. They may be installed by other means, hence the warning.
func (in *intent) reportDisabledGateways(twice map[string]bool) {
	for _, g := range in.pass.Mesh.DisabledGateways {
		h := model.ServiceHost(g.Name, g.Namespace)
		if in.service(h) != nil || twice[g.Object.String()] {
			continue
		}
		var hosts []string
		var related []Related
		seen := map[string]bool{}
		for _, s := range in.steerings {
			if host.Name(s.Destination.GetHost()) != h {
				continue
			}
			for _, x := range s.Hosts {
				if !seen[string(x)] {
					seen[string(x)] = true
					hosts = append(hosts, string(x))
				}
			}
			if len(related) < maxNamed {
				related = append(related, s.related())
			}
		}
		if len(hosts) == 0 {
			continue
		}
		in.pass.Report(Finding{
			Object: g.Object, Field: g.Field, Severity: Warning, Label: "the gateway is not installed", Related: related, oneMesh: true,
			Help: "enable the component, or install the gateway otherwise and add its manifests to the input",
			Message: fmt.Sprintf("%s disables gateway %s/%s, to which routes of the mesh send %s: nothing in the input takes these requests; enable it",
				titleOf(g.Object), g.Namespace, g.Name, upTo3(hosts)),
		})
	}
}
