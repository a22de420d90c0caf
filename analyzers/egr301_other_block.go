package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model/flow"
)

// otherBlock returns a steering that is about the very port of a direct request, but
// in a block of its VirtualService that never sees what clients speak there: http for
// TLS, or tls for plaintext (istio pilot/pkg/networking/core/listener_builder.go: the
// protocol of the service's port decides which routes count). Nil if there is none.
func (in *intent) otherBlock(a *attempt) *steering {
	if a.Flow.Scheme != flow.TLS && a.Flow.Scheme != flow.HTTP {
		return nil
	}
	for _, s := range in.covering(a.To.Host) {
		if s.Port == a.To.Port && s.Route.OfGatewayAPI == "" && s.Scheme != a.Flow.Scheme && s.Scheme != flow.TCP && s.isFor(a.Class[0]) {
			return s
		}
	}
	return nil
}

// reportOtherBlock reports the rule in the wrong block.
func (in *intent) reportOtherBlock(k unsteeredPort, c *collected) {
	speak, has, todo := "TLS", "http", "write the rule under tls, with the host in sniHosts"
	if c.first.Flow.Scheme == flow.HTTP {
		speak, has, todo = "plaintext HTTP", "tls", "write the rule under http"
	}
	security, effect := 7.2, fmt.Sprintf("%s %s directly", c.who("reaches", "reach"), c.them())
	if k.stopped {
		security, effect = 0, fmt.Sprintf("requests of %s go straight out, where a network policy stops them", upTo3(c.workloads()))
	}
	f := Finding{
		Object: k.object, Field: k.field, Severity: Error, SecuritySeverity: security, Label: "never sees these requests", Help: todo,
		Message: fmt.Sprintf("%s routes %s of %s to %s under %s, but clients speak %s there, which such a rule never sees: %s; %s",
			k.object, portsText(c.ports), upTo3(c.hosts), k.gateway, has, speak, effect, todo),
	}
	if entry, _, port := c.first.entry(); entry != nil && port != "" {
		f.Related = append(f.Related, Related{entry, port, fmt.Sprintf("%s says what is spoken on the port", entry)})
	}
	for _, s := range in.covering(c.first.To.Host) {
		if s.Object == k.object && s.Match == k.field && !k.stopped {
			for _, policed := range in.policed(s, c.first.To.Host) {
				f.SecuritySeverity = 8.5
				f.Related = append(f.Related, policed.related(c.first.name()))
			}
			break
		}
	}
	in.pass.Report(c.finding(f))
}
