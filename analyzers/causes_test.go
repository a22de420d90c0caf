package analyzers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/egresslint/egresslint/model/flow"
)

const lockedDown = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: inside-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: ["Egress"]
  egress:
  - to:
    - namespaceSelector: {}
`

// Of two findings about one fault one is told, with the other beside it.
func TestOneFaultOneFinding(t *testing.T) {
	for _, c := range []struct {
		name, manifests, enable, want string
	}{
		{"alike: the second of the pair", plainEgressDoc(""), "EGR304 EGR313", "EGR304 with EGR313"},
		{"the graver", plainEgressDoc("") + lockedDown, "EGR304 EGR313", "EGR313 with EGR304"},
		{"the other is as grave", plainEgressDoc(identityDenyDoc) + lockedDown, "EGR304 EGR313", "EGR304 with EGR313"},
		{"alone", plainEgressDoc(""), "EGR313", "EGR313"},
		{"an item of a list", egressDoc(strings.Replace(allowOrders("istio-egress", "istio-egress"), "  action:", "  targetRefs:\n  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: egress\n  action:", 1)), "EGR404 EGR809", "EGR404 with EGR809"},
		{"a part of it", egressDoc(strings.Replace(allowOrders("istio-egress", "istio-egress"), "        hosts:", "        ports: [\"443\"]\n        hosts:", 1)), "EGR415 EGR809", "EGR415 with EGR809"},
		{"nobody knows who calls", plainEgressDoc(allowOrders("istio-egress", "istio-egress")), "EGR409 EGR809", "EGR409 with EGR809"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := passOver(t, c.manifests)
			var got []string
			for _, f := range Run(p.Mesh, p.Reach, Config{Enable: strings.Fields(c.enable)}) {
				text := f.Rule.ID
				for _, r := range f.Related {
					if id, _, ok := strings.Cut(r.Message, ": "); ok && strings.HasPrefix(id, "EGR") {
						text += " with " + id
					}
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if text := strings.Join(got, "|"); text != c.want {
				t.Errorf("findings %s, want %s", text, c.want)
			}
		})
	}
}

// A cause is told as gravely as what comes of it, with the request that shows that.
func TestCausesAreAsGrave(t *testing.T) {
	nobody := "  selector:\n    matchLabels:\n      istio: nobody\n  action:"
	p := passOver(t, egressDoc(strings.Replace(allowOrders("istio-egress", "istio-egress"), "  action:", nobody, 1)))
	findings := Run(p.Mesh, p.Reach, Config{Enable: []string{"EGR403", "EGR809"}})
	if len(findings) != 1 || findings[0].Rule.ID != "EGR403" {
		t.Fatalf("got %v, want EGR403 alone", findings)
	}
	if f := findings[0]; f.Severity != Error || f.Flow == nil || f.Trace == nil || f.Trace.Outcome != flow.Blocked {
		t.Errorf("severity %s, flow %v, trace %v: want error, and the request that is denied", f.Severity, f.Flow, f.Trace)
	}
	alone := Run(p.Mesh, p.Reach, Config{Enable: []string{"EGR403"}})
	if len(alone) != 1 || alone[0].Severity != Warning {
		t.Errorf("alone: got %v, want a warning", alone)
	}
}

// Findings about no object, of which there may be as many as unknown fields in a
// directory, explain nothing: looking for what explains them takes no time. With the
// square of their number this takes a minute.
func TestCausesOfManyFindingsAboutNoObject(t *testing.T) {
	findings := make([]Finding, 100_000)
	for i := range findings {
		findings[i] = Finding{Rule: ByID("EGR012"), Severity: Warning}
	}
	start := time.Now()
	if got := len(causes(findings)); got != len(findings) {
		t.Errorf("%d of %d findings are left", got, len(findings))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("causes took %s", took)
	}
}
