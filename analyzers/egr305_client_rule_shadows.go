package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR305", Name: "client-rule-shadows-gateway-rule", Severity: Error, SecuritySeverity: 7.2,
	Run: runShadowedRule,
	Doc: Doc{
		Title: "A DestinationRule of the clients' namespace replaces the one for the egress gateway",
		What: "For the egress gateway's Service a DestinationRule in the clients' own namespace (a wildcard is enough) comes before that of the gateway's or the root namespace, " +
			"and does not have its mesh TLS or its server name.",
		Why: "Rules of different namespaces are never merged: a proxy uses the first namespace that has one for the host, its own before all others. " +
			"A rule that only meant to set a timeout takes mesh TLS away, and with it the identity that the gateway's policies ask for; or the gateway refuses the connection.",
		Bad:    egressDoc(shopRule("")),
		Good:   egressDoc(shopRule("    tls:\n      mode: ISTIO_MUTUAL\n      sni: api.example.com\n")),
		Fix:    "Remove the rule, narrow its host so that the gateway's Service is not covered, or repeat the TLS settings in it.",
		Silent: "Rules that have the same mode and server name; subsets that are lost (EGR807); clients for which the other rule would not count either; clients without a sidecar.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (destinationRule)",
			"https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration",
		},
	},
})

func shopRule(more string) string {
	return `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: timeouts
  namespace: shop
spec:
  host: "*.svc.cluster.local"
  trafficPolicy:
    connectionPool:
      tcp:
        connectTimeout: 3s
` + more
}

// shadowing is what a finding of EGR305 is about.
type shadowing struct {
	place model.Place
	rule  *manifest.Object
	lost  string
}

func runShadowedRule(p *Pass) {
	in := intentOf(p)
	own := map[string]bool{} // namespaces that have rules
	for _, r := range in.push.Mesh.DestinationRules {
		own[r.Namespace] = true
	}
	delete(own, in.push.RootNamespace())
	if !slices.ContainsFunc(p.Reach.Classes(), func(class []*model.Workload) bool { return own[class[0].Namespace] }) {
		return
	}
	var found byKey[shadowing]
	severe := map[shadowing]bool{}
	for alike := range in.steered() {
		if alike.By == nil || alike.Trace.Outcome == flow.Unknown || alike.Trace.Reason == flow.NoCluster {
			continue
		}
		l := in.legOf(alike.Trace)
		if l == nil || l.service == nil {
			continue
		}
		// Of their own namespace, and not that of the gateway's Service.
		ownRule := func(w *model.Workload) *model.MergedDestinationRule {
			if !own[w.Namespace] || l.service.Namespace == w.Namespace {
				return nil
			}
			if rule, _ := in.clientRule(l, w); rule != nil && rule.Namespace == w.Namespace {
				return rule
			}
			return nil
		}
		for a := range in.each(alike, func(w *model.Workload) bool { return ownRule(w) != nil }) {
			w := a.Class[0]
			hidden := in.hiddenRule(l, w, ownRule(w))
			if hidden == nil {
				continue
			}
			lost := in.lostTLS(l, hidden)
			if lost == "" {
				continue
			}
			place, _ := in.tlsPlace(l, w)
			if field, ok := strings.CutSuffix(place.Field, ".mode"); ok && l.client.TLS == istioMutual {
				place.Field = field + ".sni"
			}
			k := shadowing{place, hidden.Object, lost}
			severe[k] = severe[k] || a.Trace.Outcome != flow.Blocked
			found.add(k, a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		effect := "their requests fail at the gateway"
		f := Finding{
			Object: k.place.Object, Field: k.place.Field, Severity: Error,
			Label: "replaces the rule for the gateway", Help: fmt.Sprintf("narrow the host of %s, or repeat the TLS settings of %s in it", k.place.Object, k.rule),
			Related: []Related{{k.rule, "spec.trafficPolicy", fmt.Sprintf("%s is not looked at for these clients", k.rule)}, c.first.By.related()},
		}
		if severe[k] {
			effect, f.SecuritySeverity = "the gateway does not learn who calls", 7.2
		}
		f.Message = fmt.Sprintf("%s replaces %s for %s, because it lies in their own namespace: %s of the way to %s is lost, and %s; repeat the TLS settings, or narrow its host",
			k.place.Object, k.rule, upTo3(c.workloads()), k.lost, c.first.By.gateway(), effect)
		p.Report(c.finding(f))
	}
}

// hiddenRule returns the DestinationRule that a client would use for the gateway's
// Service if the rules of its own namespace were not there, nil if none.
func (in *intent) hiddenRule(l *leg, w *model.Workload, used *model.MergedDestinationRule) *model.DestinationRule {
	for _, home := range []string{l.service.Namespace, in.push.RootNamespace()} {
		var best *model.DestinationRule
		for _, r := range in.push.Mesh.DestinationRules {
			h := model.ResolveHost(r.Spec.GetHost(), r.Namespace)
			if r.Namespace != home || slices.Contains(used.From, r) || !l.host.SubsetOf(h) {
				continue
			}
			if field, _, _ := in.overlooked(r, w.Namespace, l.service.Namespace); field != "" {
				continue
			}
			if best == nil || len(string(h)) > len(string(model.ResolveHost(best.Spec.GetHost(), best.Namespace))) {
				best = r
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// lostTLS says what of a hidden rule's mesh TLS the client's way to the gateway
// does not have, "" if it has it.
func (in *intent) lostTLS(l *leg, hidden *model.DestinationRule) string {
	policy := hidden.Spec.GetTrafficPolicy()
	for _, s := range hidden.Spec.GetSubsets() {
		if s.GetName() == l.subset && s.GetTrafficPolicy() != nil {
			policy = s.GetTrafficPolicy()
		}
	}
	want := policy.GetTls()
	for _, s := range policy.GetPortLevelSettings() {
		if int(s.GetPort().GetNumber()) == l.port {
			want = s.GetTls()
		}
	}
	switch {
	case want.GetMode() != networking.ClientTLSSettings_ISTIO_MUTUAL:
		return ""
	case l.client.TLS != istioMutual:
		return "mesh TLS"
	case want.GetSni() != "" && !strings.EqualFold(want.GetSni(), l.client.SNI):
		return fmt.Sprintf("server name %q", want.GetSni())
	default:
		return ""
	}
}
