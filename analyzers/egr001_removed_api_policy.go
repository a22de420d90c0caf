package analyzers

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:        "EGR001",
	Name:      "removed-api-policy",
	Precision: PrecisionVeryHigh,
	Doc: Doc{
		Title: "A policy is written in an API that Istio no longer reads",
		What: "An object is of an API that was removed: Mixer (`config.istio.io`, since Istio 1.8), the first role based access " +
			"control and authentication policies (`rbac.istio.io`, `authentication.istio.io`, since 1.6), or the first routing " +
			"kinds (`RouteRule`, `EgressRule` …, since 1.0). Handlers and instances that a reported Mixer rule calls are part of its " +
			"finding. Mixer objects that only record requests, or only limit their rate, are a warning for each file. A Gateway server whose certificate is to be " +
			"found under `/etc/certs`, where Citadel once put it, is reported as a warning: since 1.5 nothing puts a file there.",
		Why: "The manifests describe a control that does not exist. Nothing refuses what a Mixer denier refused, and " +
			"nobody is told: the objects can still be applied where their CustomResourceDefinitions are left over.",
		Bad: `apiVersion: config.istio.io/v1alpha2
kind: rule
metadata:
  name: check-source
  namespace: istio-system
spec:
  match: destination.labels["istio"] == "egressgateway"
  actions:
  - handler: deny-all.denier
    instances: [deny.checknothing]
`,
		Good: `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: check-source
  namespace: istio-system
spec:
  selector:
    matchLabels:
      istio: egressgateway
  action: DENY
  rules:
  - from:
    - source:
        notNamespaces: [shop]
`,
		Fix: "Write what the object was for in today's API (an AuthorizationPolicy at the egress gateway or waypoint, a " +
			"VirtualService, a ServiceEntry, a `credentialName`), and delete it.",
		Silent: "The input shows an Istio that still reads the API, or a gateway pod that has a volume at `/etc/certs`.",
		Sources: []string{
			"https://istio.io/latest/news/releases/1.8.x/announcing-1.8/upgrade-notes/",
			"https://istio.io/latest/blog/2021/migrate-alpha-policy/",
			"https://istio.io/latest/news/releases/1.5.x/announcing-1.5/upgrade-notes/",
		},
	},
	Severity:         Error,
	SecuritySeverity: 8.2,
	Run:              runRemovedAPI,
})

// removedAPI is an API group (or kinds of one) that Istio reads no more.
type removedAPI struct {
	what   string // what it was called
	since  int    // minor version of Istio 1 that reads it no more
	effect string
	write  string
}

var removedAPIs = map[string]removedAPI{
	"config.istio.io":         {"Mixer configuration", 8, "nothing enforces what it describes", "write an AuthorizationPolicy"},
	"policy.istio.io":         {"Mixer configuration", 8, "nothing enforces what it describes", "write an AuthorizationPolicy"},
	"rbac.istio.io":           {"authorization of alpha times", 6, "nothing enforces what it describes", "write an AuthorizationPolicy"},
	"authentication.istio.io": {"authentication of alpha times", 6, "nothing enforces what it describes", "write a PeerAuthentication or RequestAuthentication"},
	"networking.istio.io":     removedRouting,
}

// earlyRoles are kinds of "rbac.istio.io" that were in Mixer's group before
// Istio 0.8.
var earlyRoles = map[string]bool{"ServiceRole": true, "ServiceRoleBinding": true}

var removedRouting = removedAPI{"routing of alpha times", 0, "no request is routed by it", "write a VirtualService, DestinationRule or ServiceEntry"}

// routing are the kinds of the first routing API, which was in two groups.
var routing = map[string]bool{"RouteRule": true, "EgressRule": true, "ExternalService": true, "DestinationPolicy": true}

func runRemovedAPI(p *Pass) {
	minor := istioMinor(p.Mesh)
	if minor == beforeOne {
		return // that Istio reads all of these
	}
	var open *openDespite
	parts := newMixerParts(p.Mesh.Legacy, p.Mesh.Directives, p.Analyzer)
	for _, o := range p.Mesh.Legacy {
		api, known := removedAPIs[o.Group()]
		switch {
		case routing[o.Kind]:
			api = removedRouting
		case known && earlyRoles[o.Kind]:
			api = removedAPIs["rbac.istio.io"]
		}
		if !known || minor >= 0 && minor < api.since || parts.told(o) {
			continue
		}
		f := Finding{Object: o, Field: "apiVersion", Label: "read by no supported Istio"}
		if routing[o.Kind] {
			f.Severity, f.Field = Error, "kind"
		}
		what := fmt.Sprintf("%s (%s) is dead configuration: it is %s", o, o.APIVersion, api.what)
		if same := parts.alike(o); len(same) > 1 {
			what = fmt.Sprintf("%s of the file are dead configuration (%s): they are %s", counted(len(same), "object"), upTo3(titles(same)), api.what)
		}
		if api.since > 0 {
			what += fmt.Sprintf(" that Istio reads no more since 1.%d", api.since)
		}
		switch parts.purpose(o) {
		case recording:
			f.Severity = Warning
			api.effect, api.write = "nothing is recorded", "configure Telemetry"
		case limiting:
			f.Severity = Warning
			api.effect, api.write = "nothing limits the rate of requests", "configure Envoy's rate limit filter"
		}
		f.Message = what + ", so " + api.effect
		if api.what == "Mixer configuration" && parts.purpose(o) == deciding {
			if open == nil {
				open = findOpenDespite(p)
			}
			open.tell(&f)
			for _, part := range parts.calledBy(o) {
				f.Related = append(f.Related, Related{part, "metadata.name", fmt.Sprintf("%s is part of it", part)})
			}
		}
		it := "it"
		if len(parts.alike(o)) > 1 {
			it = "them"
		}
		f.Message += fmt.Sprintf("; %s, and delete %s", api.write, it)
		p.Report(f)
	}
	if minor < 0 || minor >= 5 {
		reportCitadelFiles(p)
	}
}

func titles(objects []*manifest.Object) []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.String()
	}
	return out
}

// beforeOne stands for the versions of Istio before 1.0.
const beforeOne = -2

// istioMinor is the minor version of Istio 1 that the input shows, beforeOne for
// an Istio 0, and -1 if it shows none.
func istioMinor(mesh *model.Mesh) int {
	version, _, _ := mesh.IstioVersion()
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if major == "0" && err == nil {
		return beforeOne
	}
	if major != "1" || err != nil {
		return -1
	}
	return n
}
