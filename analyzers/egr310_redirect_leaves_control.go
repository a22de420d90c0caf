package analyzers

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR310", Name: "redirect-leaves-control", Severity: Warning, SecuritySeverity: 5.5,
	Run: runRedirectLeaves,
	Doc: Doc{
		Title: "A route answers requests for a steered host with a redirect that leads around the gateway",
		What: "Routes send a host through an egress gateway, and one of them answers some of its requests with a redirect to another name, " +
			"which no route sends to a gateway and which the same clients reach without one.",
		Why: "HTTP clients follow redirects by themselves. Their next request goes to the name in the answer, past the gateway with its policies and logs, " +
			"although the first was for a host that is meant to be controlled.",
		Bad:  egressDoc("", pathsToGateway, "  - match:\n    - uri:\n        prefix: /files\n    redirect:\n      authority: files.example.com\n"+pathsToGateway, entryHost, entryHost+"  - files.example.com\n"),
		Good: egressDoc("", pathsToGateway, "  - match:\n    - uri:\n        prefix: /files\n    redirect:\n      authority: files.example.com\n"+pathsToGateway),
		Fix:  "Send the name in the redirect through the gateway as well, or rewrite the request at the gateway instead of redirecting the client.",
		Silent: "Redirects to a name that routes send to a gateway (EGR301 and EGR302 say where they do not apply), to Services of the cluster, " +
			"or to what the clients do not reach; hosts that no route sends to a gateway.",
		Sources: []string{
			"istio pilot/pkg/networking/core/route/route.go (ApplyRedirect)",
			"https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRedirect",
		},
	},
})

// The host of the documented mesh's ServiceEntry, and the condition of the route to
// the gateway.
const (
	entryHost      = "kind: ServiceEntry\nmetadata:\n  name: api\n  namespace: istio-egress\nspec:\n  hosts:\n  - api.example.com\n"
	pathsToGateway = "  - match:\n    - gateways:\n      - mesh\n      port: 80\n"
)

// leadingOut is what a finding of EGR310 is about: a redirect, and where it leads.
type leadingOut struct {
	at   model.Place
	host string
	port int
}

func runRedirectLeaves(p *Pass) {
	in := intentOf(p)
	redirects := in.redirects()
	if len(redirects) == 0 {
		return
	}
	var found byKey[leadingOut]
	by := map[leadingOut]*steering{}
	for alike := range in.steered(flow.Redirect) {
		for a := range in.each(alike, nil) {
			covering := in.covering(a.To.Host)
			i := slices.IndexFunc(covering, func(s *steering) bool { return s.isFor(a.Class[0]) })
			if i < 0 {
				continue
			}
			for _, r := range answering(a.Trace, redirects) {
				next := followed(r.HTTPRedirect, a.Flow)
				if len(in.covering(next.Host)) > 0 {
					continue // the same name, or one of which EGR301 and EGR302 tell
				}
				t := p.Reach.Sim.Verdict(next)
				if t.Outcome != flow.Allowed || t.Reason == flow.InMesh {
					continue
				}
				k := leadingOut{r.at, next.Host, next.Port}
				by[k] = covering[i]
				out := *a
				out.Flow, out.Trace, out.own = next, t, nil
				found.add(k, &out)
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		p.Report(c.finding(Finding{
			Object: k.at.Object, Field: k.at.Field, Severity: Warning, SecuritySeverity: 5.5,
			Message: fmt.Sprintf("%s redirects requests for %s, which %s sent through %s, to %s:%d: %s that without the gateway; send %s through it too, or rewrite the request there",
				k.at.Object, upTo3(c.hosts), c.are(), by[k].gateway(), k.host, k.port, c.who("reaches", "reach"), k.host),
			Label: "leads clients around the gateway", Help: fmt.Sprintf("add a route that sends %s to the gateway", k.host),
			Related: []Related{by[k].related()},
		}))
	}
}

// redirect is one that a route answers with, and where it says so.
type redirect struct {
	*networking.HTTPRedirect
	at model.Place
}

// redirects finds the redirects of all routes by the places that traces cite.
func (in *intent) redirects() map[model.Place]redirect {
	out := map[model.Place]redirect{}
	for _, vs := range in.push.VirtualServices() {
		for _, r := range vs.HTTP {
			if r.GetRedirect() == nil {
				continue
			}
			found := redirect{r.GetRedirect(), model.Place{Object: r.Object, Field: r.Field}}
			if vs.OfGatewayAPI == "" {
				found.at.Field += ".redirect.authority"
			}
			for _, m := range append(slices.Clone(r.Matches), model.Place{Object: r.Object, Field: r.Field}) {
				out[m] = found
			}
		}
	}
	return out
}

// answering finds the redirect that a trace ends in.
func answering(t *flow.Trace, redirects map[model.Place]redirect) []redirect {
	var out []redirect
	for _, h := range t.Hops {
		for _, b := range h.Because {
			if r, ok := redirects[model.Place{Object: b.Object, Field: b.Field}]; ok {
				out = append(out, r)
			}
		}
	}
	return out
}

// followed is the request of a client that does what a redirect says (istio
// pilot/pkg/networking/core/route/route.go ApplyRedirect).
func followed(r *networking.HTTPRedirect, f flow.Flow) flow.Flow {
	next := flow.Flow{From: f.From, Method: f.Method} // another Host header, too
	next.Scheme = cmp.Or(flow.Scheme(strings.ToLower(r.GetScheme())), f.Scheme)
	next.Host = strings.ToLower(cmp.Or(r.GetAuthority(), f.Host))
	next.Path = cmp.Or(r.GetUri(), f.Path)
	next.Port = map[flow.Scheme]int{flow.HTTP: 80, flow.HTTPS: 443}[next.Scheme]
	if name, port, err := net.SplitHostPort(next.Host); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			next.Host, next.Port = name, n
		}
	}
	switch port := r.GetRedirectPort().(type) {
	case *networking.HTTPRedirect_Port:
		next.Port = int(port.Port)
	case *networking.HTTPRedirect_DerivePort:
		if port.DerivePort == networking.HTTPRedirect_FROM_REQUEST_PORT {
			next.Port = f.Port
		}
	}
	return next
}
