package analyzers

import (
	"fmt"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
	security "istio.io/api/security/v1beta1"
)

var _ = register(&Analyzer{
	ID: "EGR421", Name: "deny-by-path-normalization", Severity: Warning, SecuritySeverity: 5.9,
	Run: denyByPath,
	Doc: Doc{
		Title: "A DENY rule about paths does not match the same path written with more slashes, or with an encoded one",
		What: "A DENY rule at an egress gateway lists paths, and a request for one of them is denied, while the same with a doubled slash (`//admin`) or an encoded one (`/admin%2Fusers`) gets out, " +
			"because the mesh's pathNormalization leaves it as it is.",
		Why: "Policies compare the path letter by letter, after the normalization that the mesh configuration asks for; by default that neither merges slashes nor decodes `%2F`. " +
			"Many servers take both forms for the same path.",
		Bad:  egressDoc(pathDoc(`["/admin", "/admin/*"]`)),
		Good: egressDoc(pathDoc(`["/admin", "/admin/*"]`), "    outboundTrafficPolicy:\n", "    pathNormalization:\n      normalization: DECODE_AND_MERGE_SLASHES\n    outboundTrafficPolicy:\n"),
		Fix: "Set `pathNormalization.normalization: DECODE_AND_MERGE_SLASHES` in the mesh configuration, or turn the rule around: " +
			"an ALLOW policy that lists the paths that are meant, or a DENY with `notPaths`.",
		Silent: "ALLOW policies, `notPaths` and `*`; DECODE_AND_MERGE_SLASHES; patterns that match both forms; rules for which no request of a client in the input shows the difference.",
		Sources: []string{
			"https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization",
			"https://istio.io/latest/news/security/istio-security-2021-005/",
			"istio tests/integration/security/normalization_test.go",
		},
	},
})

func pathDoc(paths string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: paths
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
        paths: ` + paths + `
`
}

func denyByPath(p *Pass) {
	for _, g := range egressGateways(p) {
		if g.push.Config.GetPathNormalization().GetNormalization() == meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES {
			continue
		}
		for _, policy := range g.Policies.Deny {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				for i, to := range r.GetTo() {
					for k := range to.GetOperation().GetPaths() {
						if g.reportPath(p, r, i, k) {
							break // one path shows it for all
						}
					}
				}
			}
		}
	}
}

// reportPath reports one path of an operation if a client's requests show that
// another form of it is not denied.
func (g *egressGateway) reportPath(p *Pass, r authzRule, i, k int) bool {
	o := r.GetTo()[i].GetOperation()
	value := o.GetPaths()[k]
	only := r.only(i)
	only.Rule = &security.Rule{From: r.GetFrom(), When: r.GetWhen(), To: []*security.Rule_To{{Operation: &security.Operation{
		Hosts: o.GetHosts(), NotHosts: o.GetNotHosts(), Ports: o.GetPorts(), NotPorts: o.GetNotPorts(),
		Methods: o.GetMethods(), NotMethods: o.GetNotMethods(), Paths: []string{value}, NotPaths: o.GetNotPaths(),
	}}}}
	w := g.witness(p, []authzRule{only}, func(_ authzRule, c *crossing) *crossing {
		if !c.deniedByRule(r.Policy, r.Index) {
			return nil
		}
		for _, other := range otherForms(c.Flow.Path) {
			f := c.Flow
			f.Path = other
			if again := g.send(p, c.Class, f); again != nil && again.allowed() {
				return again
			}
		}
		return nil
	})
	if w == nil {
		return false
	}
	config := g.push.Config
	mode := config.GetPathNormalization().GetNormalization()
	if mode == meshconfig.MeshConfig_ProxyPathNormalization_DEFAULT {
		mode = meshconfig.MeshConfig_ProxyPathNormalization_BASE
	}
	f := Finding{
		Severity: Warning, SecuritySeverity: 5.9, Object: r.Policy.Object, Field: r.field("to[%d].operation.paths[%d]", i, k), Label: "compared letter by letter",
		Help: "set pathNormalization.normalization DECODE_AND_MERGE_SLASHES in the mesh configuration, or list what is allowed instead",
	}
	if object, field := config.Because("pathNormalization.normalization"); object != nil {
		f.Related = append(f.Related, Related{object, field, fmt.Sprintf("the mesh's pathNormalization is %s", mode)})
	}
	f.prove(w)
	f.Message = fmt.Sprintf("%s lists path %q, and a request of %s for %q is not denied: pathNormalization %s leaves the path as it is; use DECODE_AND_MERGE_SLASHES, or allow only what is meant",
		r, value, upTo3(f.Workloads), w.Flow.Path, mode)
	p.Report(f)
	return true
}

// otherForms are ways to write a path that many servers take for the same.
func otherForms(path string) []string {
	out := []string{"/" + path}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		out = append(out, path[:i]+"/"+path[i:], path[:i]+"%2F"+path[i+1:])
	}
	return out
}
