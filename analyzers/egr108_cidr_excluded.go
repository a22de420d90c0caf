package analyzers

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID:   "EGR108",
	Name: "outbound-cidr-excluded",
	Doc: Doc{
		Title: "Public addresses are excluded from the sidecar",
		What: "`excludeOutboundIPRanges` names public addresses, or `includeOutboundIPRanges` leaves some out (the same with " +
			"`global.proxy.excludeIPRanges` and `includeIPRanges` of the installation), where the manifests control what the " +
			"workload sends: they send hosts through an egress gateway, or the mesh is `REGISTRY_ONLY`. " +
			"The address of the cloud's metadata service, 169.254.169.254, is a warning where the mesh is `REGISTRY_ONLY`.",
		Why: "The redirect leaves connections to these addresses alone. They go past the sidecar, its routes and its outbound policy. " +
			"The old recipe to capture only the cluster's own ranges takes everything outside away from the mesh: no ServiceEntry, " +
			"no VirtualService and no `REGISTRY_ONLY` has any effect on it.",
		Bad:  documents(closedMesh, shopNamespace, annotatedOrders("traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8")),
		Good: documents(closedMesh, shopNamespace, annotatedOrders("traffic.sidecar.istio.io/excludeOutboundIPRanges: 10.0.0.0/8")),
		Fix: "Let the sidecar take everything (`*`, the default), and exclude no more than the private addresses that need it. " +
			"Register hosts outside with ServiceEntries.",
		Silent: "Only private addresses are excluded; nothing in the manifests controls the workload's requests; the workload has no sidecar; " +
			"the outcome is unknown. IPv6 is not looked at, as the manifests do not tell whether pods have it. The addresses of a host are only " +
			"known where a ServiceEntry lists them. Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio/istio tools/istio-iptables/pkg/capture/run.go",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-control/#direct-access-to-external-services",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.8,
	Run:              runCIDRExcluded,
})

// publicIPv4 is the address space of the internet: without the ranges that are
// private, local or reserved (RFC 6890). metadataService is where the big clouds
// hand out credentials.
var (
	publicIPv4 = addressSet([]string{"0.0.0.0/0"}, []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	})
	metadataService = addressSet([]string{"169.254.169.254/32"}, nil)
)

// rangeSetting is a setting of the redirect about addresses.
type rangeSetting struct {
	redirectSetting
	// spared returns the addresses that a text of the setting takes away from
	// the sidecar, as far as they matter.
	spared func(listed *netipx.IPSet) *netipx.IPSet
	// words makes a message of the object, the ranges as listed and the
	// requests; other is what it calls the addresses that are spared.
	words, other string
	// score is 0 for that of the rule.
	score float64
}

// The settings, with the metadata service where no public address is spared.
var rangeSettings = []rangeSetting{
	{
		redirectSetting: redirectSetting{"includeOutboundIPRanges", "includeIPRanges"},
		spared:          func(listed *netipx.IPSet) *netipx.IPSet { return without(publicIPv4, listed) },
		words:           `%s lets the sidecar take %s alone; %s go out uncontrolled; write "*" and exclude the private ranges that need it`,
		other:           "other addresses",
	},
	{
		redirectSetting: redirectSetting{"excludeOutboundIPRanges", "excludeIPRanges"},
		spared:          func(listed *netipx.IPSet) *netipx.IPSet { return both(publicIPv4, listed) },
		words:           "%s excludes %s from the sidecar; %s go out uncontrolled; remove the public ranges and register the hosts",
		other:           "these addresses",
	},
	{
		redirectSetting: redirectSetting{"excludeOutboundIPRanges", "excludeIPRanges"},
		spared: func(listed *netipx.IPSet) *netipx.IPSet {
			if len(both(publicIPv4, listed).Ranges()) > 0 {
				return &netipx.IPSet{}
			}
			return both(metadataService, listed)
		},
		words: "%s excludes %s from the sidecar, and with it the cloud's metadata service 169.254.169.254; %s go out uncontrolled; " +
			"exclude narrower ranges, or stop them with a NetworkPolicy",
		other: "these addresses",
		score: 6.0,
	},
}

func runCIDRExcluded(p *Pass) {
	in := newControls(intentOf(p))
	for _, s := range rangeSettings {
		var found exclusions
		for _, class := range p.Reach.Classes() {
			text, ok := s.of(p.Mesh, class[0])
			listed, _, all := rangesIn(text)
			if !ok || all || !in.captured(class[0]) {
				continue
			}
			if spared := s.spared(listed); len(spared.Ranges()) > 0 {
				found.add(p, class, s.redirectSetting, in.leakTo(class[0], spared, s))
			}
		}
		for _, key := range found.order {
			l := found.of[key]
			text, _ := s.of(p.Mesh, l.workloads[0])
			_, texts, _ := rangesIn(text)
			ranges := strings.Join(texts, ", ")
			if ranges == "" {
				ranges = "no address at all" // an empty list of included ranges
			}
			f := Finding{Object: key.object, Field: key.field, Label: "not redirected to the sidecar",
				Message: fmt.Sprintf(s.words, titleOf(key.object), ranges, l.what(s.other))}
			if s.score > 0 {
				f.Severity, f.SecuritySeverity = Warning, s.score
			}
			p.Report(l.finding(p, f))
		}
	}
}

// leakTo is the leak that a setting opens: requests for controlled hosts whose
// addresses it takes away from the sidecar, and requests for such an address.
func (c *controls) leakTo(w *model.Workload, spared *netipx.IPSet, s rangeSetting) leak {
	address := c.push.PublicAddress(reach.AnyAddress)
	if !spared.Contains(address) {
		address = spared.Ranges()[0].From()
	}
	list, more := c.of(w, anyPort)
	for i := range list {
		if list[i].through() == "" {
			list[i].Request.Host = address.String()
		}
	}
	return leakOf(c.pass, list, more, s.decided)
}

// rangesIn reads a list of address ranges, and returns them as a set and as text;
// all is true for "*".
func rangesIn(text string) (set *netipx.IPSet, texts []string, all bool) {
	var b netipx.IPSetBuilder
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "*" {
			all = true
		} else if prefix, err := netip.ParsePrefix(part); err == nil {
			b.AddPrefix(prefix.Masked())
			texts = append(texts, prefix.String())
		}
	}
	return built(&b), texts, all
}
