package netpol

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
)

// sets are workloads whose pods have labels that their templates do not tell,
// completed by hand: what is open is package capture's to say.
const sets = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: policy, namespace: shop}
spec: {podSelector: {SELECTOR}, policyTypes: [Egress]}
`

func TestOpenLabels(t *testing.T) {
	for _, test := range []struct{ selector, want string }{
		{"matchLabels: {app: client}", "denied"},
		{"matchLabels: {app: client, hash: a}", "undecided"},
		{"matchLabels: {app: server, hash: a}", "allowed"},
		{"matchLabels: {hash: a}", "undecided"},
		{"matchExpressions: [{key: hash, operator: Exists}]", "denied"},
		{"matchExpressions: [{key: hash, operator: DoesNotExist}]", "allowed"},
		{"matchExpressions: [{key: hash, operator: NotIn, values: [a]}]", "undecided"},
		{"matchLabels: {index: '7'}", "undecided"},
		{"matchLabels: {index: seven}", "allowed"},
		{"matchExpressions: [{key: index, operator: NotIn, values: [seven]}]", "denied"},
		{"matchLabels: {tls: istio}", "undecided"},
		{"matchLabels: {tls: disabled}", "allowed"},
		{"matchExpressions: [{key: tls, operator: Exists}]", "undecided"},
		{"matchExpressions: [{key: tls, operator: NotIn, values: [istio]}]", "undecided"},
		{"matchExpressions: [{key: tls, operator: NotIn, values: [disabled]}]", "denied"},
		{"matchLabels: {node: one}", "allowed"},
	} {
		t.Run(test.selector, func(t *testing.T) {
			mesh := load(t, replace(sets, test.selector))
			mesh.Complete(openForTest)
			got, v := ask(t, mesh, "shop/client -> 8.8.8.8:443")
			if got != test.want {
				t.Errorf("%s (%s), want %s", got, v.Text, test.want)
			}
		})
	}
}

func replace(text, selector string) string { return strings.ReplaceAll(text, "SELECTOR", selector) }

// openForTest leaves four labels open: hash may be anything, index a digit, tls
// is absent or "istio", and node is known to istiod alone.
func openForTest(_ *model.Workload, _ map[string]string, open map[string]model.OpenLabel) {
	maps.Copy(open, map[string]model.OpenLabel{
		"hash":  {Why: "a controller sets it"},
		"index": {Fits: func(v string) bool { return len(v) == 1 && v[0] >= '0' && v[0] <= '9' }, Why: "a controller sets it"},
		"tls":   {Absent: true, Values: []string{"istio"}, Why: "the injector may set it"},
		"node":  {Proxies: true, Why: "a scheduler chooses it"},
	})
}

// TestEveryForeignKindIsUnknown has one object of each kind of network policy
// that is not interpreted: the pods that it may hold for are never open.
func TestEveryForeignKindIsUnknown(t *testing.T) {
	for kind := range foreignKinds {
		group, name, _ := strings.Cut(kind, "/")
		if name == "*" {
			name = "PolicyOfTomorrow"
		}
		t.Run(kind, func(t *testing.T) {
			mesh := load(t, fmt.Sprintf("apiVersion: %s/v9\nkind: %s\nmetadata: {name: x, namespace: shop}\nspec: {}\n", group, name))
			got, v := ask(t, mesh, "shop/client -> 8.8.8.8:443")
			if got != "undecided" || !v.Foreign {
				t.Errorf("%s (%s), want undecided", got, v.Text)
			}
			if got, v := ask(t, mesh, "shop/client -> internet:443"); got != "undecided" {
				t.Errorf("the internet is %s (%s), want undecided", got, v.Text)
			}
			if len(mesh.Unmodelled) != 1 {
				t.Errorf("the report names %d objects that are not interpreted, want 1", len(mesh.Unmodelled))
			}
		})
	}
}
