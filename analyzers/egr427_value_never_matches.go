package analyzers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"
)

var _ = register(&Analyzer{
	ID: "EGR427", Name: "value-never-matches", Severity: Error, SecuritySeverity: 7.5,
	Run: valueNeverMatches,
	Doc: Doc{
		Title: "A policy about egress lists a host, a server name or a path in a form that no request has",
		What: "A rule of an AuthorizationPolicy that is in force at an egress gateway or a waypoint lists a host or a server name with a scheme or a path (`https://api.example.com`), " +
			"with a `*` in the middle (`api.*.com`), or a path that does not begin with `/` or is a regular expression; or a host or server name that nothing registers and that is a letter or two away from one that is sent there.",
		Why: "Policies compare text. A value may begin or end with one `*`; elsewhere the character stands for itself. A path always begins with a slash, and hosts and server names have no scheme. " +
			"Such a value matches no request: a DENY rule denies nothing by it, an ALLOW rule allows nothing.",
		Bad:  egressDoc(pathDoc(`["admin"]`)),
		Good: egressDoc(pathDoc(`["/admin", "/admin/*", "*/secret"]`), "    outboundTrafficPolicy:\n", "    pathNormalization:\n      normalization: DECODE_AND_MERGE_SLASHES\n    outboundTrafficPolicy:\n"),
		Fix:  "Write the host alone (and with `:*` for its form with a port), the path with its leading slash, and one `*` at one end.",
		Silent: "Policies that are in force elsewhere, or nowhere; path templates (`{*}`, `{**}`); header values, which may be any text; " +
			"values of which Istio's validation refuses the object (EGR011).",
		Sources: []string{
			"istio pilot/pkg/security/authz/matcher/string.go (StringMatcherWithPrefix)",
			"istio pilot/pkg/security/authz/matcher/template.go (PathTemplateMatcher)",
			"https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation",
		},
	},
})

// writtenValue is a value of a rule, what is wrong with it, and what it means.
type writtenValue struct {
	value, field, what string
	// why says why no request has it, "" if some may; better is what is meant, ""
	// if that cannot be told.
	why, better string
	// not: the value is one of those that are excluded.
	not bool
	// at is the index of the operation, -1 where it is one of a condition.
	at int
}

func valueNeverMatches(p *Pass) {
	for _, policy := range governing(p) {
		if len(policy.at)+len(policy.waypoints) == 0 {
			continue // EGR402 tells that it does not count
		}
		for _, r := range rulesOf(policy.AuthorizationPolicy) {
			told := map[string]bool{}
			for _, v := range r.writtenValues() {
				if v.why != "" {
					reportNeverMatches(p, policy, r, v, Error)
					continue
				}
				if v.better = misspeltHost(p, policy, v); v.better != "" && !told[v.better] {
					told[v.better] = true // with and without its port
					v.why = "nothing registers this host, and nothing is sent here for it"
					reportNeverMatches(p, policy, r, v, Warning)
				}
			}
		}
	}
}

// writtenValues returns the hosts, server names and paths of a rule.
func (r authzRule) writtenValues() []writtenValue {
	var out []writtenValue
	add := func(at int, what string, not bool, judge func(string) (why, better string), values []string, format string, args ...any) {
		for k, v := range values {
			why, better := judge(v)
			out = append(out, writtenValue{v, r.field(format+"[%d]", append(slices.Clone(args), k)...), what, why, better, not, at})
		}
	}
	for i, to := range r.GetTo() {
		o := to.GetOperation()
		add(i, "host", false, neverAuthority, o.GetHosts(), "to[%d].operation.hosts", i)
		add(i, "host", true, neverAuthority, o.GetNotHosts(), "to[%d].operation.notHosts", i)
		add(i, "path", false, neverPath, o.GetPaths(), "to[%d].operation.paths", i)
		add(i, "path", true, neverPath, o.GetNotPaths(), "to[%d].operation.notPaths", i)
	}
	for i, w := range r.GetWhen() {
		if w.GetKey() == "connection.sni" {
			add(-1, "server name", false, neverServerName, w.GetValues(), "when[%d].values", i)
			add(-1, "server name", true, neverServerName, w.GetNotValues(), "when[%d].notValues", i)
		}
	}
	return out
}

var scheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://`)

// neverAuthority says why no Host header is, or ends or begins, as a value says.
func neverAuthority(v string) (why, better string) {
	bare, _, _ := strings.Cut(scheme.ReplaceAllString(v, ""), "/")
	switch {
	case scheme.MatchString(v):
		return "a Host header has no scheme", bare
	case strings.Contains(v, "/"):
		return "a Host header has no path", bare
	default:
		return innerWildcard(v), ""
	}
}

// neverServerName says why no client announces a server name as a value says.
func neverServerName(v string) (why, better string) {
	if why, better = neverAuthority(v); why != "" {
		why = strings.Replace(why, "Host header", "server name", 1)
	} else if i := strings.LastIndexByte(v, ':'); i >= 0 {
		return "a server name has no port", v[:i]
	}
	return why, better
}

// neverPath says why no path is, or ends or begins, as a value says.
func neverPath(v string) (why, better string) {
	switch {
	case strings.Contains(v, "{*"):
		return "", "" // a template, in which "*" counts anywhere
	case scheme.MatchString(v):
		_, path, _ := strings.Cut(scheme.ReplaceAllString(v, ""), "/")
		return "a path has no scheme", "/" + path
	case regexLike.MatchString(v):
		return "it is written as a regular expression, and paths are compared as text", ""
	case !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "*"):
		return `paths begin with "/"`, "/" + v
	default:
		return innerWildcard(v), ""
	}
}

// regexLike is what no path holds that a client sends (RFC 3986 has these characters
// encoded), or that makes sense in a regular expression alone.
var regexLike = regexp.MustCompile(`[|^\\]|\.\+|\)\?|\$$`)

const noWildcard = `"*" counts at one end only and stands for itself elsewhere`

// innerWildcard says that a "*" is not where policies take it for a wildcard. A
// path may have the character itself in it, but hardly anybody means that.
func innerWildcard(v string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(v, "*"), "*")
	both := len(v) > 2 && v[0] == '*' && v[len(v)-1] == '*'
	if both || strings.Contains(inner, "*") {
		return noWildcard
	}
	return ""
}

// misspeltHost returns the only host that is sent where a policy is in force and that is
// a letter or two (or "www.") away from one of its values, which nothing registers; "" if there is
// none, or if some policy has that host too, so that both are meant.
func misspeltHost(p *Pass, policy governed, v writtenValue) string {
	in := intentOf(p)
	h := strings.ToLower(bareHost(v.value))
	if v.what == "path" || strings.Contains(h, "*") || len(in.registering(in.push, host.Name(h))) > 0 {
		return ""
	}
	var sent []string
	for _, g := range policy.at {
		for _, s := range g.Steers {
			if host.Name(h).SubsetOf(s.Host) {
				return ""
			}
			sent = append(sent, strings.ToLower(string(s.Host)))
		}
	}
	for _, w := range policy.waypoints {
		for _, name := range w.hosts {
			sent = append(sent, strings.ToLower(name))
		}
	}
	meant := nearest(h, sent)
	for _, other := range sent {
		if meant == "" && strings.TrimPrefix(h, "www.") == strings.TrimPrefix(other, "www.") {
			meant = other
		}
	}
	for _, other := range governing(p) {
		if slices.ContainsFunc(hostsOf(other.AuthorizationPolicy), func(n namedHost) bool {
			// Rules list a host without and with its port, of which one may be right.
			otherForm := v.what == "host" && other.AuthorizationPolicy == policy.AuthorizationPolicy && strings.Contains(n.Value, ":") != strings.Contains(v.value, ":")
			return strings.EqualFold(bareHost(n.Value), meant) && !otherForm
		}) {
			return ""
		}
	}
	return meant
}

func reportNeverMatches(p *Pass, policy governed, r authzRule, v writtenValue, severity Severity) {
	opens := denies(policy.AuthorizationPolicy) != v.not
	f := Finding{Severity: severity, Object: policy.Object, Field: v.field, Label: "no request has this"}
	effect := "never matches"
	if v.not {
		effect = "excludes nothing"
	}
	if v.why == noWildcard {
		effect = "is no pattern"
	}
	todo := "write a value that requests have"
	if v.better != "" {
		todo = fmt.Sprintf("write %q", v.better)
		if opens && r.shows(p, policy, v, &f) {
			effect += fmt.Sprintf(", and a request of %s to %q gets out", upTo3(f.Workloads), f.Flow.Host)
		}
	}
	if opens {
		f.SecuritySeverity = 7.5
	}
	if severity == Warning {
		todo = fmt.Sprintf("is %q meant?", v.better)
		f.SecuritySeverity = min(f.SecuritySeverity, 5.5)
	}
	f.Help = todo
	f.Message = fmt.Sprintf("%s %q in %s %s: %s; %s", v.what, v.value, r, effect, v.why, todo)
	p.Report(f)
}

// shows adds, as the witness of a finding, a request that the rule would deny if
// it were written as meant, and that gets out; false if there is none.
func (r authzRule) shows(p *Pass, policy governed, v writtenValue, f *Finding) bool {
	if v.at < 0 || v.not {
		return false
	}
	o := r.GetTo()[v.at].GetOperation()
	meant := r.only(v.at)
	operation := &security.Operation{Hosts: o.GetHosts(), Methods: o.GetMethods(), Ports: o.GetPorts(), Paths: o.GetPaths()}
	if v.what == "host" {
		operation.Hosts = []string{v.better}
	} else {
		operation.Paths = []string{v.better}
	}
	meant.Rule = &security.Rule{From: r.GetFrom(), When: r.GetWhen(), To: []*security.Rule_To{{Operation: operation}}}
	for _, g := range policy.at {
		w := g.witness(p, []authzRule{meant}, func(_ authzRule, c *crossing) *crossing {
			return c.when(c.allowed() && meant.means(g.push, c.Class[0]))
		})
		if f.prove(w); w != nil {
			return true
		}
	}
	return false
}
