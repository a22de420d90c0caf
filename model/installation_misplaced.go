package model

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model/manifest"
)

// misplacedPolicy reports an outboundTrafficPolicy that stands beside the mesh
// configuration, in Helm values or an IstioOperator: no chart of Istio reads it
// there (istio manifests/charts/istio-control/istio-discovery/templates/configmap.yaml
// takes meshConfig alone), and nothing refuses it either.
func (d *decoding) misplacedPolicy(in *installation, fields map[string]any) {
	places := []string{join(in.valuesPrefix, "outboundTrafficPolicy"), join(in.valuesPrefix, "global.outboundTrafficPolicy")}
	right := join(in.valuesPrefix, "meshConfig.outboundTrafficPolicy")
	if d.object.Kind == "IstioOperator" {
		places = append(places, "spec.outboundTrafficPolicy", "spec.global.outboundTrafficPolicy")
		right = "spec.meshConfig.outboundTrafficPolicy"
	}
	effective := lookupString(in.mesh, "outboundTrafficPolicy.mode")
	if effective == "" {
		effective = "ALLOW_ANY"
	}
	for _, at := range places {
		if slices.ContainsFunc(in.origins, func(o origin) bool { return join(o.prefix, "outboundTrafficPolicy") == at }) {
			continue
		}
		// Old charts had the setting there; one that asks for what holds anyway
		// misleads nobody.
		if _, found := lookup(fields, at); !found || lookupString(fields, at+".mode") == effective {
			continue
		}
		d.problems = append(d.problems, manifest.Problem{
			Kind: manifest.UnknownField, Position: d.doc.KeyPosition(at), Object: d.object.String(),
			Message: printable(fmt.Sprintf("%s has %q, which is no setting of Istio: it decides nothing, and outboundTrafficPolicy stays %s; write %q",
				title(d.object), at, effective, right)),
			Help: fmt.Sprintf("move it to %q", right),
		})
	}
}
