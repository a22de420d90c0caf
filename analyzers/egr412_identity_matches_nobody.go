package analyzers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR412", Name: "identity-matches-no-workload", Severity: Warning, SecuritySeverity: 5.5,
	Run: identityMatchesNobody,
	Doc: Doc{
		Title: "A policy about egress names an identity that no workload has, or that several share without meaning to",
		What: "A principal or service account in a policy of an egress gateway or waypoint is in a namespace whose workloads the input holds, but none of them runs as it; " +
			"a namespace is written as no namespace can be, or is a letter or two away from one that the input has clients of, and the input has nothing of it; a source lists principals and namespaces that exclude each other, or one of them twice (a note); or the service account is `default`, which several workloads use because they name none.",
		Why: "A DENY for an identity that nobody has denies nobody, an ALLOW admits nobody. And whoever is given `default` is given everything that every other workload with `default` in the namespace is given: " +
			"a policy cannot tell them apart.",
		Bad:  egressDoc(principalDoc("cluster.local/ns/shop/sa/order")),
		Good: egressDoc(principalDoc("cluster.local/ns/shop/sa/orders")),
		Fix:  "Name the service account of the workload's pods (`spec.serviceAccountName`), and give workloads that policies tell apart service accounts of their own.",
		Silent: "Patterns; namespaces of which the input holds no workload; accounts for which the input has a ServiceAccount, unless a workload of that very name runs as `default`; namespaces with a workload whose pods are unknown; " +
			"input of which a part could not be read; policies that do not decide about egress. Malformed principals are EGR411.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go (srcPrincipalGenerator, serviceAccountRegex)",
			"https://istio.io/latest/docs/concepts/security/#istio-identity",
		},
	},
})

// namespaceName is what the API server takes as the name of a namespace.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func identityMatchesNobody(p *Pass) {
	if p.Mesh.Partial() {
		return // who is missing may stand in what could not be read
	}
	shared := map[string]bool{} // default accounts reported, by policy and namespace
	for _, policy := range governing(p) {
		for _, r := range rulesOf(policy.AuthorizationPolicy) {
			reportContradictions(p, policy, r)
			listed := map[[2]string]bool{} // by list and value
			for _, v := range r.identityValues() {
				k := [2]string{v.field[:strings.LastIndexByte(v.field, '[')], v.value}
				if listed[k] {
					p.Report(Finding{Object: policy.Object, Field: v.field, Severity: Note, Label: "stands there twice", Help: "remove it, or write the one that is meant",
						Message: fmt.Sprintf("%s %q stands twice in one list of %s: the second adds nobody; is another one meant?", v.attribute, v.value, r)})
				}
				listed[k] = true
				if reportNoNamespace(p, policy, r, v) {
					continue
				}
				if v.attribute == "namespace" {
					if !strings.Contains(v.value, "*") && !namespaceName.MatchString(v.value) {
						reportNobody(p, policy, r, v, fmt.Sprintf("namespace %q", v.value), "no namespace has such a name", strings.ToLower(v.value))
					}
					continue
				}
				if reportUnusedAccount(p, policy, r, v) {
					continue
				}
				namespace, account, ok := accountOf(p, policy.AuthorizationPolicy, v)
				if !ok {
					continue
				}
				users := usersOf(p, namespace, account)
				switch {
				case len(users) == 0:
					what := fmt.Sprintf("%s %q", map[string]string{"principal": "principal", "serviceAccount": "service account"}[v.attribute], v.value)
					reportNobody(p, policy, r, v, what, fmt.Sprintf("no workload of namespace %q runs as service account %q", namespace, account), likely(p, namespace, account))
				case policy.own(users):
					what := fmt.Sprintf("%q", v.value)
					reportNobody(p, policy, r, v, what, fmt.Sprintf("only egress gateway %s itself has it, and that calls nobody through itself", users[0].ID()), "")
				case account == "default" && len(users) > 1 && !shared[policy.ID()+"|"+namespace]:
					shared[policy.ID()+"|"+namespace] = true
					reportShared(p, policy, r, v, users)
				}
			}
		}
	}
}

// own reports whether workloads are the egress gateways themselves where the policy is
// in force.
func (policy governed) own(users []*model.Workload) bool {
	return len(policy.at) > 0 && !slices.ContainsFunc(users, func(w *model.Workload) bool {
		return !slices.ContainsFunc(policy.at, func(g *egressGateway) bool { return g.Workload == w })
	})
}

// accountOf returns the namespace and the service account that a value names; false
// for patterns, for accounts of namespaces that the input does not wholly tell, and
// for accounts that it has without a workload.
func accountOf(p *Pass, policy *model.AuthorizationPolicy, v identityValue) (namespace, account string, ok bool) {
	if strings.Contains(v.value, "*") {
		return "", "", false
	}
	switch parts := strings.Split(v.value, "/"); {
	case v.attribute == "principal" && len(parts) == 5 && parts[1] == "ns" && parts[3] == "sa":
		if why, _ := neverMatches(p, v.value); why != "" {
			return "", "", false
		}
		namespace, account = parts[2], parts[4]
	case v.attribute == "serviceAccount" && len(parts) == 1:
		namespace, account = policy.Namespace, v.value
	case v.attribute == "serviceAccount" && len(parts) == 2:
		namespace, account = parts[0], parts[1]
	default:
		return "", "", false
	}
	workloads := false
	for _, w := range p.Mesh.Workloads {
		if w.Namespace == namespace {
			if w.PodUnknown != "" {
				return "", "", false
			}
			workloads = true
		}
	}
	declared := slices.ContainsFunc(p.Mesh.ServiceAccounts, func(o *manifest.Object) bool { return o.Namespace == namespace && o.Name == account })
	return namespace, account, workloads && (!declared || len(usersOf(p, namespace, account)) > 0)
}

// usersOf returns the workloads that run as a service account.
func usersOf(p *Pass, namespace, account string) []*model.Workload {
	var out []*model.Workload
	for _, w := range p.Mesh.Workloads {
		if w.Namespace == namespace && w.ServiceAccount == account {
			out = append(out, w)
		}
	}
	return out
}

// likely returns the only account in use that is like the given one, or the only
// account of that name in another namespace; "" if there is none such.
func likely(p *Pass, namespace, account string) string {
	var near, elsewhere []string
	for _, w := range p.Mesh.Workloads {
		id := w.Namespace + "/" + w.ServiceAccount
		switch {
		case w.ServiceAccount == account && !slices.Contains(elsewhere, id):
			elsewhere = append(elsewhere, id)
		case w.Namespace == namespace && !slices.Contains(near, id) &&
			(alike(account, w.ServiceAccount) || strings.HasPrefix(w.ServiceAccount, account) || strings.HasPrefix(account, w.ServiceAccount)):
			near = append(near, id)
		}
	}
	switch {
	case len(near) == 1:
		return near[0]
	case len(near) == 0 && len(elsewhere) == 1:
		return elsewhere[0]
	default:
		return ""
	}
}

func reportNobody(p *Pass, policy governed, r authzRule, v identityValue, what, why, better string) {
	opens := denies(policy.AuthorizationPolicy) != v.not
	f := Finding{Severity: Warning, Object: policy.Object, Field: v.field, Label: "nobody has this identity"}
	if opens {
		f.SecuritySeverity = 5.5
	}
	effect := "never matches"
	if v.not {
		effect = "excludes nobody"
	}
	todo := "name an identity that a workload has"
	if better != "" {
		todo = fmt.Sprintf("is %q meant?", better)
		f.Help = fmt.Sprintf("name the identity of the workload that is meant, perhaps %q", better)
	}
	f.Message = fmt.Sprintf("%s in %s %s, as %s; %s", what, r, effect, why, todo)
	p.Report(f)
}

// reportShared notes that a policy cannot tell apart the workloads of a namespace
// that name no service account.
func reportShared(p *Pass, policy governed, r authzRule, v identityValue, users []*model.Workload) {
	ids := workloadIDs(users)
	p.Report(Finding{
		Severity: Note, Object: policy.Object, Field: v.field, Label: "several workloads have it",
		Message: fmt.Sprintf("%q in %s stands for %s (%s), which share service account \"default\"; give the one that is meant a service account of its own",
			v.value, r, counted(len(ids), "workload"), upTo3(ids)),
		Related: []Related{{users[0].Object, users[0].Field("spec"), "names no serviceAccountName"}},
	})
}
