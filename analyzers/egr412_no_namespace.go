package analyzers

import (
	"fmt"
	"slices"
	"strings"
)

// reportNoNamespace reports an identity of a namespace of which the input has nothing,
// if the name of one that it has clients of is a letter or two away; true if it does.
func reportNoNamespace(p *Pass, policy governed, r authzRule, v identityValue) bool {
	namespace := v.value
	switch parts := strings.Split(v.value, "/"); {
	case strings.Contains(v.value, "*"):
		return false
	case v.attribute == "principal" && len(parts) == 5 && parts[1] == "ns" && parts[3] == "sa":
		namespace = parts[2]
	case v.attribute == "serviceAccount" && len(parts) == 2:
		namespace = parts[0]
	case v.attribute != "namespace" || len(parts) != 1 || !namespaceName.MatchString(v.value):
		return false
	}
	if ns := p.Mesh.Namespaces[namespace]; ns != nil && ns.Declared || p.Mesh.HoldsWorkloadsOf(namespace) {
		return false
	}
	var names []string
	for _, class := range p.Reach.Classes() {
		if !slices.Contains(names, class[0].Namespace) {
			names = append(names, class[0].Namespace)
		}
	}
	meant := nearest(namespace, names)
	if meant == "" {
		return false
	}
	better := strings.Replace(v.value, namespace, meant, 1)
	if v.attribute == "principal" {
		better = strings.Replace(v.value, "/ns/"+namespace+"/", "/ns/"+meant+"/", 1)
	}
	what := fmt.Sprintf("%s %q", map[string]string{"principal": "principal", "serviceAccount": "service account", "namespace": "namespace"}[v.attribute], v.value)
	reportNobody(p, policy, r, v, what, fmt.Sprintf("the input has nothing of namespace %q", namespace), better)
	return true
}
