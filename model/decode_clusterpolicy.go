package model

import (
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// clusterPolicyVersions are the versions of policy.networking.k8s.io whose
// fields are known, by kind. Objects of others are not interpreted.
var clusterPolicyVersions = map[string][]string{
	"AdminNetworkPolicy":         {"v1alpha1"},
	"BaselineAdminNetworkPolicy": {"v1alpha1"},
	"ClusterNetworkPolicy":       {"v1alpha2", "v1beta1"},
}

func isClusterPolicy(o *manifest.Object) bool {
	version, found := strings.CutPrefix(o.APIVersion, "policy.networking.k8s.io/")
	return found && contains(clusterPolicyVersions[o.Kind], version)
}

// The manifests of policy.networking.k8s.io as they are written; rule is
// adminRule in v1alpha1 and clusterRule since.
type (
	policyManifest[rule any] struct {
		Metadata metav1.ObjectMeta     `json:"metadata"`
		Spec     policyManifestS[rule] `json:"spec"`
	}
	policyManifestS[rule any] struct {
		Tier     *string        `json:"tier"`
		Priority *int32         `json:"priority"`
		Subject  *policySubject `json:"subject"`
		Ingress  []rule         `json:"ingress"`
		Egress   []rule         `json:"egress"`
	}
	policySubject struct {
		Namespaces *metav1.LabelSelector `json:"namespaces"`
		Pods       *policyPods           `json:"pods"`
	}
	policyPods struct {
		NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
		PodSelector       *metav1.LabelSelector `json:"podSelector"`
	}
	policyRule struct {
		Name   string       `json:"name"`
		Action string       `json:"action"`
		From   []policyPeer `json:"from"`
		To     []policyPeer `json:"to"`
	}
	policyPeer struct {
		Namespaces  *metav1.LabelSelector `json:"namespaces"`
		Pods        *policyPods           `json:"pods"`
		Nodes       *metav1.LabelSelector `json:"nodes"`
		Networks    []string              `json:"networks"`
		DomainNames []string              `json:"domainNames"`
	}
	portRange struct {
		Protocol string `json:"protocol,omitempty"`
		Start    int32  `json:"start"`
		End      int32  `json:"end"`
	}

	adminRule struct {
		policyRule `json:",inline"`
		Ports      []adminPort `json:"ports"`
	}
	adminPort struct {
		PortNumber *struct {
			Protocol string `json:"protocol"`
			Port     int32  `json:"port"`
		} `json:"portNumber"`
		NamedPort *string    `json:"namedPort"`
		PortRange *portRange `json:"portRange"`
	}

	clusterRule struct {
		policyRule `json:",inline"`
		Protocols  []clusterProtocol `json:"protocols"`
	}
	clusterProtocol struct {
		TCP                  *transport `json:"tcp"`
		UDP                  *transport `json:"udp"`
		SCTP                 *transport `json:"sctp"`
		DestinationNamedPort string     `json:"destinationNamedPort"`
	}
	transport struct {
		DestinationPort *struct {
			Number int32      `json:"number"`
			Range  *portRange `json:"range"`
		} `json:"destinationPort"`
	}
)

// clusterPolicy decodes an object of policy.networking.k8s.io.
func (d *decoding) clusterPolicy() any {
	tree, err := d.tree()
	if err != nil {
		return d.refuse(&rejection{"the API server", []complaint{{"", err.Error()}}})
	}
	d.unknownTopLevel(tree)
	d.unknownFields("metadata", metav1.ObjectMeta{})
	c := &policyReader{kind: d.object.Kind, tree: lookupMap(tree, "spec")}
	if d.object.Kind == "ClusterNetworkPolicy" {
		d.unknownFields("spec", policyManifestS[clusterRule]{})
		return readClusterPolicy(d, c, func(r *clusterRule, at string) (*policyRule, []ClusterPolicyPort) {
			return &r.policyRule, c.protocols(at+".protocols", r.Protocols)
		})
	}
	d.unknownFields("spec", policyManifestS[adminRule]{})
	return readClusterPolicy(d, c, func(r *adminRule, at string) (*policyRule, []ClusterPolicyPort) {
		return &r.policyRule, c.ports(at+".ports", r.Ports)
	})
}

// readClusterPolicy decodes and validates; part takes a rule apart.
func readClusterPolicy[rule any](d *decoding, c *policyReader, part func(*rule, string) (*policyRule, []ClusterPolicyPort)) any {
	raw := &policyManifest[rule]{}
	if err := d.doc.Unmarshal(raw); err != nil {
		return d.refuse(&rejection{"the API server", []complaint{d.mistyped(err, &policyManifest[rule]{})}})
	}
	spec := &raw.Spec
	p := &ClusterPolicy{}
	switch {
	case c.kind == "AdminNetworkPolicy":
		p.Tier = AdminTier
	case c.kind == "BaselineAdminNetworkPolicy":
		p.Tier = BaselineTier
		if d.object.Name != "default" {
			c.say("metadata.name", `a BaselineAdminNetworkPolicy must be named "default"`)
		}
	case spec.Tier == nil || *spec.Tier != string(AdminTier) && *spec.Tier != string(BaselineTier):
		c.say("spec.tier", `required: "Admin" or "Baseline"`)
	default:
		p.Tier = PolicyTier(*spec.Tier)
	}
	switch {
	case c.kind == "BaselineAdminNetworkPolicy":
	case spec.Priority == nil || *spec.Priority < 0 || *spec.Priority > 1000:
		c.say("spec.priority", "required: a number from 0 to 1000")
	default:
		p.Priority = int(*spec.Priority)
	}
	if pods, n := c.pods("spec.subject", spec.Subject.peer()); n == 1 {
		p.Subject = *pods
	} else {
		c.say("spec.subject", "required: exactly one of namespaces and pods")
	}
	for i := range spec.Ingress {
		at := item("spec.ingress", i)
		r, ports := part(&spec.Ingress[i], at)
		p.Ingress = append(p.Ingress, c.rule(at, r, ports, false))
	}
	for i := range spec.Egress {
		at := item("spec.egress", i)
		r, ports := part(&spec.Egress[i], at)
		p.Egress = append(p.Egress, c.rule(at, r, ports, true))
	}
	c.atMost("spec.ingress", len(spec.Ingress))
	c.atMost("spec.egress", len(spec.Egress))
	if len(c.complaints) > 0 {
		return d.refuse(&rejection{"the API server", c.complaints})
	}
	return p
}

func (s *policySubject) peer() *policyPeer {
	if s == nil {
		return &policyPeer{}
	}
	return &policyPeer{Namespaces: s.Namespaces, Pods: s.Pods}
}

// policyReader reads a spec and collects what its CRD refuses (network-policy-api
// config/crd: the markers of the Go types).
type policyReader struct {
	policyCheck
	kind string
	tree map[string]any
}

// atMost checks the length of a list of rules, peers, ports or protocols.
func (c *policyReader) atMost(field string, n int) {
	most := 100
	if c.kind == "ClusterNetworkPolicy" {
		most = 25
	}
	if n > most {
		c.say(field, "has too many items")
	}
}

func (c *policyReader) rule(at string, r *policyRule, ports []ClusterPolicyPort, egress bool) ClusterPolicyRule {
	out := ClusterPolicyRule{Ports: ports}
	accept := "Allow"
	if c.kind == "ClusterNetworkPolicy" {
		accept = "Accept"
	}
	switch {
	case r.Action == accept:
		out.Action = PolicyAccept
	case r.Action == "Deny":
		out.Action = PolicyDeny
	case r.Action == "Pass" && c.kind != "BaselineAdminNetworkPolicy":
		out.Action = PolicyPass
	default:
		c.say(at+".action", "unsupported value")
	}
	field, peers := at+".from", r.From
	if egress {
		field, peers = at+".to", r.To
	}
	if len(peers) == 0 {
		c.say(field, "at least one item is required")
	}
	c.atMost(field, len(peers))
	c.atMost(at, len(ports))
	named := slices.ContainsFunc(ports, func(p ClusterPolicyPort) bool { return p.Name != "" })
	for i := range peers {
		peer := c.peer(item(field, i), &peers[i], egress)
		if named && (peer.Nodes != nil || peer.Networks != nil || peer.Domains != nil) {
			c.say(item(field, i), "networks, nodes and domainNames have no named ports")
		}
		if peer.Domains != nil && out.Action != PolicyAccept {
			c.say(item(field, i)+".domainNames", "only supported for rules that accept")
		}
		out.Peers = append(out.Peers, peer)
	}
	return out
}

func (c *policyReader) peer(at string, p *policyPeer, egress bool) ClusterPolicyPeer {
	out := ClusterPolicyPeer{}
	pods, n := c.pods(at, p)
	out.Pods = pods
	if egress {
		if p.Nodes != nil {
			n++
			c.selector(at+".nodes", p.Nodes)
			out.Nodes = p.Nodes
		}
		if p.Networks != nil {
			n++
			out.Networks = c.networks(at+".networks", p.Networks)
		}
		if p.DomainNames != nil && c.kind != "BaselineAdminNetworkPolicy" {
			n++
			for _, name := range p.DomainNames {
				out.Domains = append(out.Domains, strings.ToLower(strings.TrimSuffix(name, ".")))
			}
			c.count(at+".domainNames", len(p.DomainNames))
		}
	}
	if unknown := c.unknown(at); unknown != "" {
		return ClusterPolicyPeer{Unknown: unknown}
	}
	if n != 1 {
		c.say(at, "exactly one kind of peer is required")
	}
	return out
}

func (c *policyReader) count(field string, n int) {
	if n == 0 || n > 25 {
		c.say(field, "must have 1 to 25 items")
	}
}

func (c *policyReader) networks(field string, list []string) []netip.Prefix {
	c.count(field, len(list))
	var out []netip.Prefix
	for i, s := range list {
		// isCIDR of the API server's expressions refuses what ParsePrefix does.
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			c.say(item(field, i), "invalid CIDR")
			continue
		}
		out = append(out, prefix.Masked())
	}
	return out
}

// pods reads the two kinds of peers that are pods, and counts them.
func (c *policyReader) pods(at string, p *policyPeer) (*PolicyPods, int) {
	n := 0
	var out *PolicyPods
	if p.Namespaces != nil {
		n++
		c.selector(at+".namespaces", p.Namespaces)
		out = &PolicyPods{Namespaces: *p.Namespaces}
	}
	if p.Pods != nil {
		n++
		if p.Pods.NamespaceSelector == nil || p.Pods.PodSelector == nil {
			c.say(at+".pods", "namespaceSelector and podSelector are required")
			return &PolicyPods{}, n
		}
		c.selector(at+".pods.namespaceSelector", p.Pods.NamespaceSelector)
		c.selector(at+".pods.podSelector", p.Pods.PodSelector)
		out = &PolicyPods{Namespaces: *p.Pods.NamespaceSelector, Pods: p.Pods.PodSelector}
	}
	return out, n
}

// unknown names a field of a peer that the API does not have, or that a
// selector of an older one had (sameLabels, namespaces.namespaceSelector).
func (c *policyReader) unknown(at string) string {
	peer := asMap(walkTree(c.tree, strings.TrimPrefix(at, "spec.")))
	for _, key := range sortedKeys(peer) {
		switch key {
		case "namespaces", "nodes":
			for _, inner := range sortedKeys(asMap(peer[key])) {
				if inner != "matchLabels" && inner != "matchExpressions" {
					return key + "." + inner
				}
			}
		case "pods", "networks", "domainNames":
		default:
			return key
		}
	}
	return ""
}

// walkTree follows a field path of keys and indexes such as "egress[0].to[1]".
func walkTree(v any, path string) any {
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch t := v.(type) {
		case map[string]any:
			v = t[step]
		case []any:
			index := 0
			for _, r := range step {
				index = index*10 + int(r-'0')
			}
			if index >= len(t) {
				return nil
			}
			v = t[index]
		default:
			return nil
		}
	}
	return v
}
