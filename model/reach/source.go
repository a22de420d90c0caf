package reach

import (
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// accounts are the service accounts that policies can tell from others.
type accounts struct {
	all bool
	// asked: some rule looks at who sends, if only at his namespace or trust
	// domain.
	asked bool
	names map[string]bool
}

func (a accounts) has(name string) bool { return a.all || a.names[name] }

// sources collects what rules of policies say about who sends: the service
// accounts that they name, whatever the namespace, and the address blocks. A
// principal, or a service account, of which only a part is given may mean any
// account. Only policies of some namespaces count, if any are given.
func sources(mesh *model.Mesh, namespaces map[string]bool) (accounts, []netip.Prefix) {
	named := accounts{names: map[string]bool{}}
	var blocks []netip.Prefix
	account := func(lists ...[]string) {
		for _, value := range slices.Concat(lists...) {
			if value != "*" && strings.Contains(value, "*") {
				named.all = true
			}
			named.names[value[strings.LastIndexByte(value, '/')+1:]] = true
		}
	}
	block := func(lists ...[]string) {
		for _, value := range slices.Concat(lists...) {
			if p, err := netip.ParsePrefix(value); err == nil {
				blocks = append(blocks, p)
			} else if a, err := netip.ParseAddr(value); err == nil {
				blocks = append(blocks, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	for _, policy := range mesh.AuthorizationPolicies {
		if namespaces != nil && !namespaces[policy.Namespace] {
			continue
		}
		for _, rule := range policy.Spec.GetRules() {
			for _, from := range rule.GetFrom() {
				s := from.GetSource()
				named.asked = named.asked || len(s.GetPrincipals())+len(s.GetNotPrincipals())+len(s.GetServiceAccounts())+len(s.GetNotServiceAccounts())+
					len(s.GetNamespaces())+len(s.GetNotNamespaces())+len(s.GetTrustDomains())+len(s.GetNotTrustDomains()) > 0
				account(s.GetPrincipals(), s.GetNotPrincipals(), s.GetServiceAccounts(), s.GetNotServiceAccounts())
				block(s.GetIpBlocks(), s.GetNotIpBlocks(), s.GetRemoteIpBlocks(), s.GetNotRemoteIpBlocks())
			}
			for _, when := range rule.GetWhen() {
				named.asked = named.asked || strings.HasPrefix(when.GetKey(), "source.")
				switch when.GetKey() {
				case "source.principal", "source.serviceAccount":
					account(when.GetValues(), when.GetNotValues())
				case "source.ip", "remote.ip":
					block(when.GetValues(), when.GetNotValues())
				}
			}
		}
	}
	sort.Slice(blocks, func(i, j int) bool { return blocks[i].String() < blocks[j].String() })
	return named, slices.Compact(blocks)
}
