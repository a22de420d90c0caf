package reach

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/flow"
)

// maxRequests bounds the requests that are tried for one tuple. Where conditions
// would give more, each dimension is varied on its own.
const maxRequests = 400

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
	for i := 0; i < len(hosts) && i < maxHosts; i++ {
		for _, vs := range r.Sim.Push().VirtualServices() {
			if !slices.ContainsFunc(vs.Hosts, func(h host.Name) bool { return hosts[i].SubsetOf(host.Name(strings.ToLower(string(h)))) }) {
				continue
			}
			for _, route := range vs.HTTP {
				for _, m := range route.GetMatch() {
					c.match(m)
					if to := route.GetRewrite().GetUri(); to != "" && m.GetUri().GetPrefix() != "" {
						rewrites = append(rewrites, rewrite{m.GetUri().GetPrefix(), to})
					}
				}
				for _, h := range newHosts(route.HTTPRoute) {
					if !slices.Contains(hosts, h) {
						hosts = append(hosts, h)
					}
				}
			}
		}
	}
	for _, p := range r.Mesh.AuthorizationPolicies {
		c.policy(p.Spec, d)
	}
	c.rewritten(rewrites)
	q := c.requests()
	r.samples[key] = q
	return q
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
}

func addValue(list []value, v value) []value {
	if slices.ContainsFunc(list, func(x value) bool { return x.text == v.text }) {
		return list
	}
	return append(list, v)
}

func (c *collector) method(text, witness string) {
	c.methods = addValue(c.methods, value{text, func(f *flow.Flow) { f.Method = witness }})
}

func (c *collector) path(text, witness string) {
	c.paths = addValue(c.paths, value{text, func(f *flow.Flow) { f.Path = witness }})
}

func (c *collector) header(name, text, witness string) {
	c.headers[name] = addValue(c.headers[name], value{name + ": " + text, func(f *flow.Flow) { f.Headers[name] = witness }})
}

// match adds what a route's condition asks for.
func (c *collector) match(m *networking.HTTPMatchRequest) {
	if m.GetUri() != nil {
		for _, w := range witnesses(m.GetUri()) {
			if strings.HasPrefix(w.sample, "/") {
				c.path(w.text, w.sample)
			}
		}
	}
	if m.GetMethod() != nil {
		for _, w := range witnesses(m.GetMethod()) {
			c.method(w.text, w.sample)
		}
	}
	for _, headers := range []map[string]*networking.StringMatch{m.GetHeaders(), m.GetWithoutHeaders()} {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			if strings.HasPrefix(name, "@") {
				continue
			}
			for _, w := range witnesses(headers[name]) {
				c.header(strings.ToLower(name), w.text, w.sample)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.GetQueryParams())) {
		for _, w := range witnesses(m.GetQueryParams()[name]) {
			c.path("/?"+name+"="+w.text, "/?"+name+"="+w.sample)
		}
	}
}

// policy adds what the rules of a policy ask for.
func (c *collector) policy(p *security.AuthorizationPolicy, d Destination) {
	affixed := func(values []string, add func(text, witness string)) {
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
	for _, rule := range p.GetRules() {
		for _, to := range rule.GetTo() {
			o := to.GetOperation()
			for _, list := range [][]string{o.GetMethods(), o.GetNotMethods()} {
				affixed(list, c.method)
			}
			for _, list := range [][]string{o.GetPaths(), o.GetNotPaths()} {
				affixed(list, func(text, witness string) {
					witness = strings.NewReplacer("{**}", "x", "{*}", "x").Replace(witness)
					if !strings.HasPrefix(witness, "/") {
						witness = "/" + witness
					}
					c.path(text, witness)
				})
			}
			if len(o.GetHosts())+len(o.GetNotHosts()) > 0 {
				bare, port := d.Host, fmt.Sprintf("%s:%d", d.Host, d.Port)
				c.hosts = addValue(c.hosts, value{bare, func(f *flow.Flow) { f.Headers["host"] = bare }})
				c.hosts = addValue(c.hosts, value{port, func(f *flow.Flow) { f.Headers["host"] = port }})
			}
		}
		for _, when := range rule.GetWhen() {
			name, ok := strings.CutPrefix(when.GetKey(), "request.headers[")
			if !ok {
				continue
			}
			name = strings.ToLower(strings.TrimSuffix(name, "]"))
			for _, list := range [][]string{when.GetValues(), when.GetNotValues()} {
				affixed(list, func(text, witness string) { c.header(name, text, witness) })
			}
		}
	}
}

// requests adds to each dimension the value that stands for all others, first.
func (c *collector) requests() *requests {
	q := &requests{hosts: c.hosts}
	if len(c.methods) > 0 {
		// GET and HEAD are named even if no condition is about them: they are
		// what people try first.
		c.method("GET", "GET")
		c.method("HEAD", "HEAD")
		slices.SortStableFunc(c.methods, func(a, b value) int { return rank(a.text, "GET") - rank(b.text, "GET") })
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
