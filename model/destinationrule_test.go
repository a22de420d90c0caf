package model_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model"
)

func rule(name, namespace, spec string) string {
	return object(networking, "DestinationRule", name, namespace, spec)
}

// chosen names the rules that a client's proxy uses for a.example.com.
func chosen(p *model.PushContext, namespace string, labels map[string]string) string {
	for _, s := range p.Services() {
		if s.Hostname == "a.example.com" {
			if r := p.DestinationRule(namespace, labels, s); r != nil {
				return r.String()
			}
			return ""
		}
	}
	return "no such service"
}

// The client's namespace, the service's, the root namespace; the first hit hides
// the rest (istio pilot/pkg/model/push_context.go destinationRule).
func TestDestinationRuleLookup(t *testing.T) {
	const svc = "a.example.com"
	exact, wild := "{host: a.example.com%s}", "{host: '*.example.com'%s}"
	private, public, named := ", exportTo: ['.']", ", exportTo: ['*']", ", exportTo: [client]"
	for _, test := range []struct {
		name  string
		rules string
		want  string // for a client in namespace client
		root  string // for a client in the root namespace
	}{
		{"none", "", "", ""},
		{"client", rule("r", "client", fmt.Sprintf(exact, "")), "client/r", ""},
		{"service", rule("r", "service", fmt.Sprintf(exact, "")), "service/r", "service/r"},
		{"private to the service", rule("r", "service", fmt.Sprintf(exact, private)), "", ""},
		{"exported by name", rule("r", "service", fmt.Sprintf(exact, named)), "service/r", ""},
		{"root", rule("r", "istio-system", fmt.Sprintf(exact, "")), "istio-system/r", "istio-system/r"},
		{"private to root", rule("r", "istio-system", fmt.Sprintf(exact, private)), "", "istio-system/r"},
		{"third", rule("r", "third", fmt.Sprintf(exact, public)), "", ""},
		{"client hides service", rule("r", "client", fmt.Sprintf(wild, "")) + rule("s", "service", fmt.Sprintf(exact, "")), "client/r", "service/s"},
		{"service hides root", rule("r", "istio-system", fmt.Sprintf(exact, "")) + rule("s", "service", fmt.Sprintf(wild, "")), "service/s", "service/s"},
		{"what is not exported hides nothing", rule("r", "istio-system", fmt.Sprintf(exact, "")) + rule("s", "service", fmt.Sprintf(exact, private)), "istio-system/r", "istio-system/r"},
		{"exact before wildcard", rule("a", "service", fmt.Sprintf(wild, "")) + rule("b", "service", fmt.Sprintf(exact, "")), "service/b", "service/b"},
		{"longer wildcard", rule("a", "service", "{host: '*.com'}") + rule("b", "service", fmt.Sprintf(wild, "")), "service/b", "service/b"},
		{"a wildcard is not its apex", rule("a", "service", "{host: '*.a.example.com'}"), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pushOf(t, entry("e", "service", svc, "")+test.rules)
			if got := chosen(p, "client", nil); got != test.want {
				t.Errorf("client: %q, want %q", got, test.want)
			}
			if got := chosen(p, "istio-system", nil); got != test.root {
				t.Errorf("root: %q, want %q", got, test.root)
			}
		})
	}
}

// defaultDestinationRuleExportTo counts as "." or "*" only.
func TestDestinationRuleDefaultExport(t *testing.T) {
	for config, want := range map[string]string{
		`defaultDestinationRuleExportTo: ["."]`:      "",
		`defaultDestinationRuleExportTo: ["*"]`:      "service/r",
		`defaultDestinationRuleExportTo: [someone]`:  "service/r",
		`defaultVirtualServiceExportTo: ["."]`:       "service/r",
		`defaultDestinationRuleExportTo: [".", "*"]`: "",
	} {
		p := pushOf(t, entry("e", "service", "a.example.com", "")+rule("r", "service", "{host: a.example.com}"), config)
		if got := chosen(p, "client", nil); got != want {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
}

// A rule with workloadSelector is private and goes before those without.
func TestDestinationRuleSelector(t *testing.T) {
	p := pushOf(t, entry("e", "service", "a.example.com", "")+
		rule("a-plain", "client", "{host: a.example.com}")+
		rule("b-web", "client", "{host: a.example.com, workloadSelector: {matchLabels: {app: web}}}")+
		rule("c-front", "client", "{host: a.example.com, workloadSelector: {matchLabels: {app: web, tier: front}}}")+
		rule("d-theirs", "service", "{host: a.example.com, workloadSelector: {matchLabels: {app: web}}}"))
	for _, test := range []struct {
		namespace string
		labels    map[string]string
		want      string
	}{
		{"client", nil, "client/a-plain"},
		{"client", map[string]string{"app": "web"}, "client/b-web"},
		{"client", map[string]string{"app": "web", "tier": "front"}, "client/b-web"},
		{"other", map[string]string{"app": "web"}, ""},
		{"service", map[string]string{"app": "web"}, "service/d-theirs"},
		{"service", nil, ""},
	} {
		if got := chosen(p, test.namespace, test.labels); got != test.want {
			t.Errorf("%s %v: %q, want %q", test.namespace, test.labels, got, test.want)
		}
	}
}

// Rules for one host string in one namespace unite their subsets, of which the
// first definition stays; the policy is the oldest one's that has any
// (istio pilot/pkg/model/destination_rule.go mergeDestinationRule).
func TestDestinationRulesMerge(t *testing.T) {
	subset := func(name, mode string) string {
		return fmt.Sprintf("{name: %s, trafficPolicy: {tls: {mode: %s}}}", name, mode)
	}
	p := pushOf(t, entry("e", "default", "a.example.com", "")+
		rule("b", "default", "{host: a.example.com, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: ["+subset("one", "DISABLE")+", "+subset("two", "SIMPLE")+"]}")+
		rule("a", "default", "{host: a.example.com, subsets: ["+subset("one", "SIMPLE")+"]}")+
		rule("c", "default", "{host: a.example.com, trafficPolicy: {tls: {mode: DISABLE}}, subsets: ["+subset("three", "DISABLE")+"]}"))
	r := p.DestinationRule("default", nil, p.ServiceIn("a.example.com", "default"))
	if r == nil || r.String() != "default/a, default/b, default/c" {
		t.Fatalf("merged are %v", r)
	}
	if r.PolicyFrom == nil || r.PolicyFrom.Name != "b" || r.Policy.GetTls().GetMode().String() != "SIMPLE" {
		t.Errorf("the policy is %v of %v, want that of b", r.Policy, r.PolicyFrom)
	}
	for name, from := range map[string]string{"one": "a", "two": "b", "three": "c"} {
		s := r.SubsetByName(name)
		if s == nil || s.From.Name != from {
			t.Errorf("subset %s is %+v, want that of %s", name, s, from)
		}
	}
	if s := r.SubsetByName("four"); s != nil {
		t.Errorf("subset four is %+v, want none", s)
	}

	// Different exportTo keep rules apart.
	p = pushOf(t, entry("e", "default", "a.example.com", "")+
		rule("a", "default", "{host: a.example.com, exportTo: ['.'], subsets: ["+subset("one", "SIMPLE")+"]}")+
		rule("b", "default", "{host: a.example.com, exportTo: [other], subsets: ["+subset("two", "SIMPLE")+"]}"))
	if r := p.DestinationRule("other", nil, p.ServiceIn("a.example.com", "default")); r == nil || r.SubsetByName("one") != nil || r.SubsetByName("two") == nil {
		t.Errorf("other uses %v", r)
	}
	var subsets []string
	if r := p.DestinationRule("default", nil, p.ServiceIn("a.example.com", "default")); r != nil {
		for _, s := range r.Subsets {
			subsets = append(subsets, s.GetName())
		}
	}
	if !slices.Equal(subsets, []string{"one"}) {
		t.Errorf("default uses subsets %v, want one", subsets)
	}
}
