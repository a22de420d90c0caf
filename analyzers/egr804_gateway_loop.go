package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR804", Name: "gateway-loop", Severity: Error,
	Run: runGatewayLoop,
	Doc: Doc{
		Title: "An egress gateway sends requests back to itself",
		What:  "A route of the mesh sends a host to the egress gateway, and the gateway's own route leads to the gateway's Service again.",
		Why: "A rule of a VirtualService that is bound to `mesh` and to a Gateway holds for both unless its `match` names one of them. " +
			"The rule that is meant for clients then sends the gateway's requests to the gateway, round and round until they are cut off.",
		Bad:     egressDoc("", "    - gateways:\n      - mesh\n      port: 80\n", "    - uri:\n        prefix: /\n"),
		Good:    egressDoc(""),
		Fix:     "Write `gateways: [mesh]` into the match of the rule for clients, and add a rule for the gateway that leads to the host itself.",
		Silent:  "Requests that get out in the end, and unknown verdicts.",
		Sources: []string{"istio pilot/pkg/networking/core/route/route.go (sourceMatchHTTP)", "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/"},
	},
})

func runGatewayLoop(p *Pass) {
	in := intentOf(p)
	type key struct {
		object  *manifest.Object
		field   string
		gateway string
	}
	var found byKey[key]
	note := func(a *attempt) {
		if e := exitOf(a.Trace); e != nil && e.At == flow.AtGateway && e.route.Object != nil {
			found.add(key{e.route.Object, e.route.Field, e.Proxy}, a)
		}
	}
	for a := range in.failing(flow.Loop) {
		note(a)
	}
	// The second time they come as the gateway's own, whom policies may not let in.
	for a := range in.failing(flow.RBACDenied) {
		if e := exitOf(a.Trace); e != nil && a.Trace.Hops[len(a.Trace.Hops)-1].Proxy == e.Proxy {
			note(a)
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		why, todo := "this route leads to the gateway again", "let it lead to the host itself"
		if k.object == c.first.By.Object && k.field == c.first.By.To {
			why, todo = "this route is meant for clients and holds at the gateway too", "restrict its match to gateways: [mesh], and add a rule for the gateway that leads to the host"
		}
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("egress gateway %s sends requests for %s back to a gateway: %s; %s",
				k.gateway, upTo3(c.hosts), why, todo),
			Label: "leads to the gateway again", Help: todo,
			Related: []Related{c.first.By.related()},
		}))
	}
}
