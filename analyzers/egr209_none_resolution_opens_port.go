package analyzers

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR209", Name: "none-resolution-opens-port", Severity: Error, SecuritySeverity: 8.0,
	Run: runNoneOpensPort,
	Doc: Doc{
		Title: "A TCP ServiceEntry with resolution NONE opens its port to any address",
		What: "The mesh is `REGISTRY_ONLY`. A ServiceEntry declares a TCP port with resolution NONE (the default) and no addresses, or with a broad range of public addresses " +
			"(wider than /16, for IPv6 /32).",
		Why: "A TCP connection carries no name. Without addresses the sidecar's listener takes every connection on the port, and with NONE it " +
			"forwards to whatever address the application dialled: for this port REGISTRY_ONLY is off.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, databaseEntry("resolution: NONE")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, databaseEntry("addresses: [52.20.30.40]\n  resolution: NONE")),
		Fix:  "List the exact addresses, or use resolution DNS or STATIC together with addresses. For TLS declare protocol TLS, so that the server name decides.",
		Silent: "HTTP and TLS ports (EGR210); narrow and private ranges; meshes that are not REGISTRY_ONLY for any workload with a sidecar; ServiceEntries that these do not see; " +
			"requests that a NetworkPolicy stops, or whose outcome is unknown.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener.go (buildListenerFromEntry)",
			"istio pilot/pkg/networking/core/cluster.go (convertResolution)",
			"https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-Resolution",
		},
	},
})

// Ranges wider than these stand for much of the internet.
const (
	narrowIPv4 = 16
	narrowIPv6 = 32
)

func runNoneOpensPort(p *Pass) {
	in := intentOf(p)
	closed := in.closedClasses()
	if len(closed) == 0 {
		return
	}
	done := map[model.Place]bool{}
	for _, s := range in.push.Services() {
		if s.Entry == nil || s.Resolution != model.Passthrough {
			continue
		}
		address, ok := in.anyAddressOf(s)
		if !ok {
			continue
		}
		for _, port := range s.Ports {
			k := model.Place{Object: s.Object, Field: port.Field + s.AddressField}
			if done[k] || !opaque(port) {
				continue
			}
			done[k] = true // the same for each host of the entry
			request := flow.Flow{Host: address.String(), Port: port.Number, Scheme: flow.TCP}
			if o := in.tryClosed(closed, s, request, func(t *flow.Trace) bool { return leaves(t, s.Object) }); o != nil {
				p.Report(opensPort(s, port, o))
			}
		}
	}
}

func opensPort(s *model.Service, port *model.Port, o *opening) Finding {
	f := Finding{Object: s.Object, Field: "spec.resolution", Label: "forwards to whatever address was dialled", Related: portOf(s.Object, port)}
	what, any := "with resolution NONE and no addresses", "any address"
	mend := "list its addresses, or use resolution DNS or STATIC"
	if s.Address != model.UnspecifiedIP {
		f.Severity, f.SecuritySeverity = Warning, 6.0
		f.Field, f.Label = s.AddressField, "any address of the range"
		what, any = "with resolution NONE and the range "+s.Address, "any address in it"
		mend = "list the exact addresses"
	}
	f.Message = fmt.Sprintf("ServiceEntry %s declares port %d as %s %s, so that %s %s on port %d although the mesh is REGISTRY_ONLY; %s",
		s.Object.ID(), port.Number, protocolText(port), what, o.who("reaches", "reach"), any, port.Number, mend)
	f.Message = strings.Replace(f.Message, "the mesh is", o.closedText()+" is", 1)
	return o.finding(f)
}

// closedText names what closes the clients.
func (o *opening) closedText() string {
	if o.closed.Object != nil && o.closed.Object.Kind == "Sidecar" {
		return o.closed.Object.String()
	}
	return "the mesh"
}

// portOf shows the port of a service.
func portOf(o *manifest.Object, port *model.Port) []Related {
	return []Related{{o, port.Field, fmt.Sprintf("port %d", port.Number)}}
}

// protocolText is what a port is declared as, for messages.
func protocolText(port *model.Port) string {
	if port.Protocol == "" || port.Protocol.IsUnsupported() {
		return "no protocol"
	}
	return string(port.Protocol)
}

// asProtocol says as what a port is declared.
func asProtocol(port *model.Port) string {
	if port.Protocol == "" || port.Protocol.IsUnsupported() {
		return "without a protocol"
	}
	return "as " + string(port.Protocol)
}

// anyAddressOf returns an address that nobody chose and that a service takes: any
// where it has none itself, one of its range where that is broad and public.
func (in *intent) anyAddressOf(s *model.Service) (netip.Addr, bool) {
	if s.Address == model.UnspecifiedIP {
		return in.push.PublicAddress(reach.AnyAddress), true
	}
	prefix, err := netip.ParsePrefix(s.Address)
	if err != nil {
		return netip.Addr{}, false
	}
	if prefix.Addr().Is6() {
		a := prefix.Masked().Addr().Next()
		return a, prefix.Bits() < narrowIPv6 && netip.MustParsePrefix("2000::/3").Contains(a)
	}
	var b netipx.IPSetBuilder
	b.AddPrefix(prefix.Masked())
	ranges := both(publicIPv4, built(&b)).Ranges()
	if prefix.Bits() >= narrowIPv4 || len(ranges) == 0 {
		return netip.Addr{}, false
	}
	return ranges[0].From().Next(), true
}

// databaseEntry is a ServiceEntry of namespace shop for a database outside, with
// the rest of its spec.
func databaseEntry(rest string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: database
  namespace: shop
spec:
  hosts:
  - db.example.com
  ports:
  - number: 5432
    name: tcp
    protocol: TCP
  ` + rest + "\n"
}
