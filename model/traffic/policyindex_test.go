package traffic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/internal/testseed"
)

// The rule that an index finds is the first that matches, whatever rules name.
func TestIndexFindsTheFirstRule(t *testing.T) {
	seed := testseed.New(t)
	random := rand.New(rand.NewPCG(seed, 0))
	p := proxyUnder(t)
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	list := func(values ...string) string {
		out := []string{fmt.Sprintf("%q", pick(values...))}
		if random.IntN(2) == 0 {
			out = append(out, fmt.Sprintf("%q", pick(values...)))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	rule := func() string {
		var parts []string
		if random.IntN(2) == 0 {
			field := pick("hosts", "hosts", "notHosts")
			to := fmt.Sprintf("{operation: {%s: %s}}", field, list("a.example.com", "B.example.com", "a.example.com:80", "*.example.com", "b.*", "*"))
			if random.IntN(3) == 0 {
				to += ", {operation: {methods: [" + pick("GET", "PUT") + "]}}"
			}
			parts = append(parts, "to: ["+to+"]")
		}
		if random.IntN(2) == 0 {
			parts = append(parts, fmt.Sprintf("from: [{source: {principals: %s}}]", list("cluster.local/ns/a/sa/x", "cluster.local/ns/b/sa/x", "*/sa/x", "cluster.local/ns/a/*")))
		}
		if random.IntN(3) == 0 {
			parts = append(parts, fmt.Sprintf("when: [{key: connection.sni, values: %s}]", list("a.example.com", "*.example.com", "c.example.org")))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	found := 0
	for range 200 {
		var rules []policyRule
		var texts []string
		for range 1 + random.IntN(6) {
			text := rule()
			r, ok := compiled(t, p, text, security.AuthorizationPolicy_Action(random.IntN(2)), random.IntN(3) == 0)
			if ok {
				r.index = len(rules)
				rules, texts = append(rules, r), append(texts, text)
			}
		}
		x := indexRules(rules)
		for range 10 {
			s := someone(func(s *subject) {
				s.request.authority = pick("a.example.com", "A.example.com", "b.example.com", "a.example.com:80", "c.example.org")
				s.sni = pick("a.example.com", "c.example.org", "")
				s.identity = pick("spiffe://cluster.local/ns/a/sa/x", "spiffe://cluster.local/ns/b/sa/x", "")
			})
			want := -1
			for i := range rules {
				if rules[i].matches(s) {
					want = i
					break
				}
			}
			got := -1
			if r := x.first(rules, s); r != nil {
				got = r.index
			}
			if got != want {
				t.Fatalf("%q, %q, %q: got %d, want %d of\n%s", s.request.authority, s.sni, s.identity, got, want, strings.Join(texts, "\n"))
			}
			if want >= 0 {
				found++
			}
		}
	}
	if found == 0 {
		t.Error("no rule matched anything")
	}
}
