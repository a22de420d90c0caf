package model

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

func TestNetworkPolicies(t *testing.T) {
	for _, test := range []struct{ name, spec, complaint string }{
		{"deny all", `{podSelector: {}, policyTypes: [Ingress, Egress]}`, ""},
		{"IPv6", `{egress: [{to: [{ipBlock: {cidr: "::/0", except: ["fd00::/8"]}}]}]}`, ""},
		{"leading zeros", `{egress: [{to: [{ipBlock: {cidr: 010.0.0.0/8}}]}]}`, ""},
		{"a range of ports", `{egress: [{ports: [{port: 32000, endPort: 32000, protocol: SCTP}, {port: metrics-1}]}]}`, ""},
		{"all operators", `{podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist}, {key: e, operator: NotIn, values: [f]}]}}`, ""},
		{"no peer", `{egress: [{to: [{}]}]}`, "spec.egress[0].to[0]: must specify a peer"},
		{"an ipBlock beside a selector", `{egress: [{to: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}`, "spec.egress[0].to[0].ipBlock: may not be specified together"},
		{"an address without length", `{egress: [{to: [{ipBlock: {cidr: 10.0.0.1}}]}]}`, "spec.egress[0].to[0].ipBlock.cidr: \"10.0.0.1\" is not a valid CIDR"},
		{"a name for a CIDR", `{egress: [{to: [{ipBlock: {cidr: api.example.com/32}}]}]}`, "spec.egress[0].to[0].ipBlock.cidr: "},
		{"the exception is the block", `{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}`, "spec.egress[0].to[0].ipBlock.except[0]: "},
		{"the exception is no CIDR", `{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}]}]}`, "spec.egress[0].to[0].ipBlock.except[0]: "},
		{"the exception is of another family", `{egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: ["fd00::/8"]}}]}]}`, "spec.egress[0].to[0].ipBlock.except[0]: "},
		{"port 0", `{egress: [{ports: [{port: 0}]}]}`, "spec.egress[0].ports[0].port: must be between 1 and 65535"},
		{"a name that is too long", `{egress: [{ports: [{port: a-name-of-a-port}]}]}`, "spec.egress[0].ports[0].port: "},
		{"a protocol of its own", `{egress: [{ports: [{protocol: tcp}]}]}`, `spec.egress[0].ports[0].protocol: unsupported value "tcp"`},
		{"the end of nothing", `{egress: [{ports: [{endPort: 5}]}]}`, "spec.egress[0].ports[0].endPort: may not be specified when port is not"},
		{"the end of a name", `{egress: [{ports: [{port: http, endPort: 5}]}]}`, "spec.egress[0].ports[0].endPort: may not be specified when port is a name"},
		{"backwards", `{egress: [{ports: [{port: 9, endPort: 5}]}]}`, "spec.egress[0].ports[0].endPort: must be greater"},
		{"beyond the last", `{egress: [{ports: [{port: 9, endPort: 70000}]}]}`, "spec.egress[0].ports[0].endPort: must be between"},
		{"three types", `{policyTypes: [Ingress, Egress, Egress]}`, "spec.policyTypes: may not have more than two"},
		{"no values", `{egress: [{to: [{namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}]}`, "spec.egress[0].to[0].namespaceSelector.matchExpressions[0]: required"},
		{"values too many", `{ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}]}`, "spec.ingress[0].from[0].podSelector.matchExpressions[0].values: may not"},
		{"no such operator", `{podSelector: {matchExpressions: [{key: a, operator: Equals}]}}`, `spec.podSelector.matchExpressions[0].operator: "Equals" is not a valid label selector operator`},
	} {
		t.Run(test.name, func(t *testing.T) {
			np := &networkingv1.NetworkPolicy{}
			if err := yaml.UnmarshalStrict([]byte("spec: "+test.spec), np); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range validateNetworkPolicy(np) {
				got = append(got, c.field+": "+c.message)
			}
			switch text := strings.Join(got, "\n"); {
			case test.complaint == "" && text != "":
				t.Errorf("refused: %s", text)
			case test.complaint != "" && (len(got) != 1 || !strings.HasPrefix(text, test.complaint)):
				t.Errorf("complaints:\n%s\nwant\n%s", text, test.complaint)
			}
		})
	}
}
