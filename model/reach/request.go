package reach

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// maxRequests bounds the requests that are tried for one tuple. Where conditions
// would give more, each value is tried on its own, and then all values together
// that a route, a rule of a policy, or one of each ask for.
const maxRequests = 400

// maxWholes bounds the requests with all that routes and rules ask for.
const maxWholes = 2000

// value is one choice in a dimension of requests: how it is called, and a
// request that has it.
type value struct {
	text  string
	apply func(*flow.Flow)
}

// requests are the requests that conditions in routes and policies can tell
// apart for a host: a list of values for each dimension.
type requests struct {
	methods, paths, hosts []value
	headers               [][]value
	// wholes are values that routes and rules ask for together.
	wholes [][]choice
	// cut says that there are more of them than are tried.
	cut bool
}

func (q *requests) dimensions() [][]value {
	return append([][]value{q.methods, q.paths, q.hosts}, q.headers...)
}

// requestsFor collects the conditions of all VirtualServices that cover a host
// and of all policies that look at requests.
func (r *Reach) requestsFor(d Destination) *requests {
	key := fmt.Sprintf("%s:%d", d.Host, d.Port)
	if q := r.samples[key]; q != nil {
		return q
	}
	c := &collector{headers: map[string][]value{}}
	var rewrites []rewrite
	// A route may change the host: what is routed for the new one counts too.
	hosts := []host.Name{host.Name(strings.ToLower(d.Host))}
	var sentTo []host.Name
	for i := 0; i < len(hosts) && i < maxHosts; i++ {
		for _, vs := range r.routesOf(hosts[i]) {
			for _, route := range vs.HTTP {
				for _, m := range route.GetMatch() {
					c.match(m)
					if to := route.GetRewrite().GetUri(); to != "" && m.GetUri().GetPrefix() != "" {
						rewrites = append(rewrites, rewrite{m.GetUri().GetPrefix(), to})
					}
				}
				for _, to := range route.GetRoute() {
					sentTo = append(sentTo, model.ResolveHost(to.GetDestination().GetHost(), vs.Namespace))
				}
				for _, h := range newHosts(route.HTTPRoute) {
					if !slices.Contains(hosts, h) {
						hosts = append(hosts, h)
					}
				}
			}
		}
	}
	enforced := r.enforcing(slices.Concat(hosts, sentTo))
	asks := slices.DeleteFunc(r.asking(hosts), func(a ask) bool { return !enforced(a.namespace) })
	for i, a := range asks {
		c.ask(a.rule, a.operation, d)
		if i+1 == len(asks) || asks[i+1].rule != a.rule {
			c.absent(a.rule)
		}
	}
	c.rewritten(rewrites)
	if slices.ContainsFunc(r.withoutPort(), func(h host.Name) bool { return h.Matches(hosts[0]) }) {
		spellings := []string{d.Host, fmt.Sprintf("%s:%d", d.Host, d.Port)}
		if d.Port != 80 { // as clients write it
			slices.Reverse(spellings)
		}
		for _, text := range spellings {
			c.host(text)
		}
	}
	q := c.requests()
	r.samples[key] = q
	return q
}

// withoutPort are the hosts of which a port in the Host header makes a difference.
func (r *Reach) withoutPort() []host.Name {
	if r.portless == nil {
		list := r.Sim.HostsWithoutPort()
		r.portless = &list
	}
	return *r.portless
}

// maxHosts bounds how many changes of the host are followed.
const maxHosts = 8

// newHosts returns the hosts that a route gives to requests.
func newHosts(route *networking.HTTPRoute) []host.Name {
	var out []host.Name
	add := func(h string) {
		if h, _, _ = strings.Cut(h, ":"); h != "" {
			out = append(out, host.Name(strings.ToLower(h)))
		}
	}
	headers := func(h *networking.Headers) {
		for _, set := range []map[string]string{h.GetRequest().GetSet(), h.GetRequest().GetAdd()} {
			for _, name := range slices.Sorted(maps.Keys(set)) {
				if strings.EqualFold(name, "host") || name == ":authority" {
					add(set[name])
				}
			}
		}
	}
	add(route.GetRewrite().GetAuthority())
	headers(route.GetHeaders())
	for _, d := range route.GetRoute() {
		headers(d.GetHeaders())
	}
	return out
}

// rewrite is what a route makes of the beginning of a path.
type rewrite struct{ from, to string }

// rewritten adds the paths that become one of the collected ones on the way.
func (c *collector) rewritten(list []rewrite) {
	for _, w := range list {
		for _, v := range slices.Clone(c.paths) {
			var f flow.Flow
			v.apply(&f)
			if rest, ok := strings.CutPrefix(f.Path, w.to); ok && w.from != w.to {
				c.path(w.from+rest, w.from+rest)
			}
		}
	}
}

// flows returns one flow for each combination of values, the plainest first.
func (q *requests) flows(base flow.Flow) []flow.Flow {
	out := []flow.Flow{base}
	dims := q.dimensions()
	total := 1
	for _, d := range dims {
		total *= max(1, len(d))
	}
	if total > maxRequests {
		for _, d := range dims {
			for _, v := range d {
				out = append(out, applied(base, v))
			}
		}
		for _, whole := range q.wholes {
			f := base
			for _, c := range whole {
				f = applied(f, c.value)
			}
			out = append(out, f)
		}
		return out
	}
	for _, d := range dims {
		if len(d) == 0 {
			continue
		}
		var next []flow.Flow
		for _, f := range out {
			for _, v := range d {
				next = append(next, applied(f, v))
			}
		}
		out = next
	}
	return out
}

// plainest returns the first of the flows.
func (q *requests) plainest(base flow.Flow) flow.Flow {
	dims := q.dimensions()
	total := 1
	for _, d := range dims {
		total *= max(1, len(d))
	}
	if total > maxRequests {
		return base
	}
	for _, d := range dims {
		if len(d) > 0 {
			base = applied(base, d[0])
		}
	}
	return base
}

func applied(f flow.Flow, v value) flow.Flow {
	f.Headers = maps.Clone(f.Headers)
	if f.Headers == nil {
		f.Headers = map[string]string{}
	}
	v.apply(&f)
	return f
}

// collector gathers values without repeating any.
type collector struct {
	methods, paths, hosts []value
	headers               map[string][]value
	whole                 whole
	// routes and rules are what each of them asks for.
	routes, rules [][]choice
}

func addValue(list []value, v value) []value {
	if slices.ContainsFunc(list, func(x value) bool { return x.text == v.text }) {
		return list
	}
	return append(list, v)
}

func (c *collector) method(text, witness string) {
	v := value{text, func(f *flow.Flow) { f.Method = witness }}
	c.methods = addValue(c.methods, v)
	c.whole.choose(methodDimension, v)
}

func (c *collector) path(text, witness string) {
	v := value{text, func(f *flow.Flow) { f.Path = witness }}
	c.paths = addValue(c.paths, v)
	c.whole.choose(pathDimension, v)
}

func (c *collector) host(host string) {
	v := value{host, func(f *flow.Flow) { f.Headers["host"] = host }}
	c.hosts = addValue(c.hosts, v)
	c.whole.choose(hostDimension, v)
}

func (c *collector) header(name, text, witness string) {
	v := value{name + ": " + text, func(f *flow.Flow) { f.Headers[name] = witness }}
	c.headers[name] = addValue(c.headers[name], v)
	c.whole.choose(headerDimension, v)
}

// match adds what a route's condition asks for.
func (c *collector) match(m *networking.HTTPMatchRequest) {
	c.whole.ask()
	for _, w := range pathWitnesses(m) {
		c.path(w.text, w.sample)
	}
	if m.GetMethod() != nil {
		c.whole.ask()
		for _, w := range witnesses(m.GetMethod()) {
			c.method(w.text, w.sample)
		}
	}
	headers := func(conditions map[string]*networking.StringMatch, ask bool) {
		for _, name := range slices.Sorted(maps.Keys(conditions)) {
			if strings.HasPrefix(name, "@") {
				continue
			}
			if ask {
				c.whole.ask()
			}
			for _, w := range witnesses(conditions[name]) {
				c.header(strings.ToLower(name), w.text, w.sample)
			}
		}
	}
	headers(m.GetHeaders(), true)
	c.routes = append(c.routes, c.whole.requests()...)
	headers(m.GetWithoutHeaders(), false)
}

// affixed adds values as policies write them.
func affixed(values []string, add func(text, witness string)) {
	for _, v := range values {
		switch {
		case v == "*":
		case strings.HasPrefix(v, "*"):
			add(v, whatever+v[1:])
		case strings.HasSuffix(v, "*"):
			add(v, v[:len(v)-1]+whatever)
		default:
			add(v, v)
		}
	}
}

// policyPath adds a path as policies write it.
func (c *collector) policyPath(text, witness string) {
	witness = strings.NewReplacer("{**}", whatever, "{*}", whatever).Replace(witness)
	if !strings.HasPrefix(witness, "/") {
		witness = "/" + witness
	}
	c.path(text, witness)
}

// when adds the headers that a rule asks for.
func (c *collector) when(rule *security.Rule, values func(*security.Condition) []string, ask bool) {
	for _, w := range rule.GetWhen() {
		name, ok := strings.CutPrefix(w.GetKey(), "request.headers[")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSuffix(name, "]"))
		if ask {
			c.whole.ask()
		}
		for _, v := range values(w) {
			if v == "*" {
				c.header(name, "present", whatever)
			}
		}
		affixed(values(w), func(text, witness string) { c.header(name, text, witness) })
	}
}

// ask adds what a rule asks for with one of its operations, which may be nil.
func (c *collector) ask(rule *security.Rule, o *security.Operation, d Destination) {
	c.whole.ask()
	affixed(o.GetMethods(), c.method)
	c.whole.ask()
	affixed(o.GetPaths(), c.policyPath)
	if len(o.GetHosts())+len(o.GetNotHosts()) > 0 {
		c.whole.ask()
		c.host(d.Host)
		c.host(fmt.Sprintf("%s:%d", d.Host, d.Port))
	}
	c.when(rule, (*security.Condition).GetValues, true)
	c.rules = append(c.rules, c.whole.requests()...)
	affixed(o.GetNotMethods(), c.method)
	affixed(o.GetNotPaths(), c.policyPath)
}

// absent adds what a rule asks not to be there.
func (c *collector) absent(rule *security.Rule) {
	c.when(rule, (*security.Condition).GetNotValues, false)
}

// requests adds to each dimension the value that stands for all others, first.
func (c *collector) requests() *requests {
	q := &requests{hosts: c.hosts}
	q.wholes, q.cut = wholes(c.routes, c.rules)
	if len(c.methods) > 0 {
		// GET and HEAD are named even if no condition is about them: they are
		// what people try first.
		c.method("GET", "GET")
		c.method("HEAD", "HEAD")
		sort.SliceStable(c.methods, func(i, j int) bool {
			return rank(c.methods[i].text, "GET") < rank(c.methods[j].text, "GET")
		})
		q.methods = append(slices.Clone(c.methods), value{"any other method", func(f *flow.Flow) { f.Method = "EGRESSLINT" }})
	}
	if len(c.paths) > 0 {
		q.paths = append([]value{{"any other path", func(f *flow.Flow) { f.Path = "/.egresslint-other" }}}, c.paths...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.headers)) {
		values := append([]value{{name + ": absent", func(*flow.Flow) {}}}, c.headers[name]...)
		values = append(values, value{name + ": any other value", func(f *flow.Flow) { f.Headers[name] = "egresslint-other" }})
		q.headers = append(q.headers, values)
	}
	return q
}

func rank(text, first string) int {
	if text == first {
		return 0
	}
	return 1
}
