package traffic

import (
	"net/netip"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// lookedUp is what the agent beside the client's sidecar answers for the flow's
// host: an address of a ServiceEntry that the sidecar sees, listed or automatic, but
// of no CIDR; what it does not know it asks upstream for, whose answer is given
// (istio pkg/dns/server/name_table.go BuildNameTable). Where the sidecar does not see
// a Service of the cluster, an entry of the Service's name answers for it. Of several addresses the one
// counts that the upstream would give, too, else the first.
func (w *walker) lookedUp(upstream model.Resolved) model.Resolved {
	name := strings.ToLower(strings.TrimSuffix(w.flow.Host, "."))
	if isAddress(name) {
		return upstream
	}
	if s := upstream.Service; s != nil && strings.HasPrefix(string(s.Hostname), name+".") {
		name = string(s.Hostname) // the client's resolver asks for the full name
	}
	var first *model.Resolved
	for _, listener := range w.sim.scope(w.push, w.client).Listeners {
		for _, s := range listener.Services {
			if strings.ToLower(string(s.Hostname)) != name {
				continue
			}
			if s.Kubernetes() {
				return upstream // before any ServiceEntry of its name
			}
			address := s.Address
			if address == model.UnspecifiedIP && w.sim.capture(w.client).AutoAddresses {
				address = s.AutoAddress
			}
			addr, err := netip.ParseAddr(address)
			if err != nil {
				continue
			}
			if (upstream.Listed != nil || upstream.Service != nil) && addr == upstream.Addr {
				return upstream
			}
			if first == nil {
				first = &model.Resolved{Addr: addr, Listed: s}
			}
		}
	}
	if first == nil {
		return upstream
	}
	return *first
}
