package reach

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// A cohort is classes whose proxies are configured alike, for all destinations or, of
// proxies that no Sidecar limits, for those of which all namespaces see the same. Its
// members are told apart by what the simulation asks about a client on its way: who
// it is, what its network policies let through, what its proxy captures. So one of
// them is asked for, and the answer is that of all for whom the questions that came
// up have the same answers; then one of the others.

// cohorts are what is known about cohorts.
type cohorts struct {
	member map[*model.Workload]*member
	// own are the cohorts of one namespace, wide those of all.
	own, wide map[string]*cohort
	outlooks  map[string]*traffic.Outlook
	// views are the trees of what sidecars see alike, until all classes have their rows.
	views   map[view]*tree[outcome]
	proxies map[string]int
	// answered remembers what was asked, by class.
	answered map[traffic.Question]map[*model.Workload]reply
	// renamings are fates with the names of policies in place of placeholders.
	renamings map[string]int32
}

func newCohorts() *cohorts {
	return &cohorts{
		member: map[*model.Workload]*member{}, own: map[string]*cohort{}, wide: map[string]*cohort{}, outlooks: map[string]*traffic.Outlook{},
		views: map[view]*tree[outcome]{}, proxies: map[string]int{},
		answered: map[traffic.Question]map[*model.Workload]reply{}, renamings: map[string]int32{},
	}
}

// member is a class as a member of cohorts.
type member struct {
	first *model.Workload
	// proxy is the same for classes whose proxies read the same configuration as far
	// as that is not a matter of their namespace and labels, own where it is.
	proxy, own string
	// signature is that of its capture, from names it as flows do.
	signature, from string
	// resolving are the destinations that it finds in the mesh, see resolvingFor.
	resolving set
	// wide: no Sidecar limits what its proxy sees; limited: one does, and no more.
	wide, limited bool
	sight         *traffic.Sight
	// among is its wide cohort, place that in its members.
	among *cohort
	place int
}

// cohort is some classes.
type cohort struct {
	members []*member
	// trees are by destination of the universe, until all members have their rows.
	trees map[int]*tree[outcome]
	done  int

	// The following is that of wide cohorts: what they see, the destinations of which
	// all see the same, and those about which each member has to be asked.
	outlook     *traffic.Outlook
	known, each set
	// elsewhere has for a destination the namespaces that may see it otherwise.
	elsewhere map[int][]string
	// shared and unknown are the answers, the latter those for names that nothing
	// registers, by destination and member.
	shared  []*share
	unknown map[int][]outcome
	decided bool
	parts   map[traffic.Question][]part
	// captures are the members by the signature of their capture.
	captures []signed
}

// signed are members whose capture has the same signature.
type signed struct {
	first   *model.Workload
	members set
}

// share is an answer that some members of a wide cohort have for some destinations.
type share struct {
	members, places set
	outcome
}

// part is members for whom the answer to a question is the same.
type part struct {
	answer  string
	members set
}

// enrol makes a class a member of its cohort.
func (r *Reach) enrol(w *model.Workload, c *capture.Capture, signature, labels string) {
	m := &member{first: w, signature: signature, from: traffic.From(w)}
	m.wide, m.limited = r.Sim.Sees(w)
	m.proxy = fmt.Sprintf("%s %v %t %t %t %q", r.Mesh.ConfigFor(w).Revision, c.Mode, c.DNSCapture, c.AutoAddresses, c.OwnCertificates, traffic.Aliases(w)) + r.Sim.Open(w)
	m.own = fmt.Sprintf("%s %q %s", m.proxy, w.Namespace, labels)
	if len(r.Mesh.EnvoyFilters)+len(r.Mesh.Unmodelled) > 0 {
		m.own += traffic.From(w) // they may select any label
	}
	r.member[w] = m
	x := r.own[m.own]
	if x == nil {
		x = &cohort{trees: map[int]*tree[outcome]{}}
		r.own[m.own] = x
	}
	x.members = append(x.members, m)
}

// memberOf returns a class as a member of its cohort.
func (r *Reach) memberOf(first *model.Workload) *member {
	if r.member[first] == nil { // no client: a gateway
		c := r.Sim.Capture(first)
		r.enrol(first, c, c.Signature(), traffic.From(first))
	}
	return r.member[first]
}

// view is what sidecars of one kind see of a destination.
type view struct {
	proxy, place int
	text         string
}

// viewOf returns what the proxy of a class sees of a destination, false where others that
// see the same may do something else.
func (r *Reach) viewOf(m *member, place int) (view, bool) {
	if !m.wide && !m.limited || r.resolvingFor(m.first).has(place) {
		return view{}, false
	}
	text, ok := r.sight(m).View(place, r.Universe()[place].Port)
	if !ok {
		return view{}, false
	}
	proxy, known := r.proxies[m.proxy]
	if !known {
		proxy = len(r.proxies)
		r.proxies[m.proxy] = proxy
	}
	return view{proxy, place, text}, true
}

func (r *Reach) sight(m *member) *traffic.Sight {
	if m.sight == nil {
		m.sight = r.Sim.Sight(r.outlook(m), m.first)
	}
	return m.sight
}

// treeFor returns what is known of a destination for all whose proxies do the same as
// that of a class.
func (r *Reach) treeFor(m *member, place int) *tree[outcome] {
	v, shared := r.viewOf(m, place)
	if !shared {
		return r.own[m.own].tree(place)
	}
	t := r.views[v]
	if t == nil {
		t = &tree[outcome]{}
		r.views[v] = t
	}
	return t
}

// outcomeFor returns how a destination fares for a class.
func (r *Reach) outcomeFor(m *member, place int) outcome {
	root := r.treeFor(m, place)
	t := root.leaf(r, m.first)
	if t == nil {
		t = r.grow(root, m.first, place)
	}
	return *t.end
}

// wideCohort returns the cohort of classes that no Sidecar limits.
func (r *Reach) wideCohort(m *member) *cohort {
	if m.among != nil {
		return m.among
	}
	for _, class := range r.classes {
		o := r.member[class[0]]
		if !o.wide {
			continue
		}
		outlook := r.outlook(o)
		key := o.proxy
		for _, port := range r.ports {
			text, plain := outlook.Opened(o.first.Namespace, port)
			key += fmt.Sprint(" ", text, plain)
		}
		x := r.wide[key]
		if x == nil {
			x = r.newWide(o, outlook)
			r.wide[key] = x
		}
		o.among, o.place = x, len(x.members)
		x.members = append(x.members, o)
	}
	return m.among
}

// outlook returns what the proxies of a class and its like see.
func (r *Reach) outlook(m *member) *traffic.Outlook {
	o := r.outlooks[m.proxy]
	if o == nil {
		universe := r.Universe()
		places := make([]traffic.Place, len(universe))
		for i, d := range universe {
			places[i] = traffic.Place{Host: d.Host, Port: d.Port}
			for _, v := range r.requestsFor(d).hosts {
				places[i].Names = append(places[i].Names, applied(flow.Flow{}, v).Headers["host"])
			}
		}
		o = r.Sim.Outlook(m.first, places)
		r.outlooks[m.proxy] = o
	}
	return o
}

func (r *Reach) newWide(m *member, outlook *traffic.Outlook) *cohort {
	n := len(r.Universe())
	x := &cohort{
		outlook: outlook, known: newSet(n), each: newSet(n), elsewhere: map[int][]string{},
		unknown: map[int][]outcome{}, parts: map[traffic.Question][]part{},
	}
	for _, i := range outlook.Known {
		x.known.add(i)
	}
	for _, i := range outlook.Each {
		x.each.add(i)
	}
	x.each.unite(r.resolvingFor(m.first))
	for _, port := range r.ports {
		if _, plain := outlook.Opened(m.first.Namespace, port); !plain {
			x.each.unite(r.byPort[port])
		}
	}
	for ns, places := range outlook.Of {
		for _, i := range places {
			x.elsewhere[i] = append(x.elsewhere[i], ns)
		}
	}
	return x
}

// settle finds the answers of a wide cohort.
func (r *Reach) settle(x *cohort) {
	if x.decided {
		return
	}
	x.decided = true
	all := newSet(len(x.members))
	bySignature := map[string]int{}
	for i, m := range x.members {
		all.add(i)
		n, ok := bySignature[m.signature]
		if !ok {
			n = len(x.captures)
			bySignature[m.signature] = n
			x.captures = append(x.captures, signed{m.first, newSet(len(x.members))})
		}
		x.captures[n].members.add(i)
	}
	type key struct {
		members, policies string
		fate              int32
	}
	numbers := map[traffic.Question]int{}
	index := map[key]*share{}
	x.known.members(func(place int) bool {
		if x.each.has(place) {
			return true
		}
		r.common(x, place, all, func(members set, end outcome) {
			k := key{members.key(), "", end.fate}
			for _, q := range end.policies {
				if _, ok := numbers[q]; !ok {
					numbers[q] = len(numbers)
				}
				k.policies += fmt.Sprint(numbers[q], " ")
			}
			s := index[k]
			if s == nil {
				s = &share{members.clone(), newSet(len(r.Universe())), end}
				index[k] = s
				x.shared = append(x.shared, s)
			}
			s.places.add(place)
		})
		return true
	})
	for _, port := range r.ports {
		place, ok := r.anyName[port]
		if !ok || x.each.has(place) || x.known.has(place) {
			continue
		}
		list := make([]outcome, len(x.members))
		r.common(x, place, all, func(members set, end outcome) {
			members.members(func(i int) bool { list[i] = end; return true })
		})
		x.unknown[place] = list
	}
	x.parts = nil
}

// common finds the outcomes of a destination for all members that see it as all do.
func (r *Reach) common(x *cohort, place int, all set, found func(set, outcome)) {
	if m := r.pick(x, place, all); m != nil {
		t := r.treeFor(m, place)
		r.spread(x, t, t, place, all, found)
	}
}

// spread finds the outcomes of a destination for some members, of whom those are left
// out that may see it otherwise than all.
func (r *Reach) spread(x *cohort, root, t *tree[outcome], place int, members set, found func(set, outcome)) {
	for t.end == nil && t.next == nil {
		m := r.pick(x, place, members)
		if m == nil {
			return
		}
		r.grow(root, m.first, place)
	}
	if t.end != nil {
		found(members, *t.end)
		return
	}
	for _, p := range r.partsOf(x, t.question, t.policies, members) {
		some, any := members.clone(), false
		for i := range some {
			some[i] &= p.members[i]
			any = any || some[i] != 0
		}
		if !any {
			continue
		}
		r.spread(x, root, t.after(p.answer), place, some, found)
	}
}

// pick returns a member that sees a destination as all do, nil if none does.
func (r *Reach) pick(x *cohort, place int, members set) (found *member) {
	members.members(func(i int) bool {
		if m := x.members[i]; !slices.Contains(x.elsewhere[place], m.first.Namespace) && !r.resolvingFor(m.first).has(place) {
			found = m
		}
		return found == nil
	})
	return found
}

// partsOf groups members by their answer to a question that comes after others.
func (r *Reach) partsOf(x *cohort, q traffic.Question, before []traffic.Question, members set) []part {
	lasting := q.Lasting() && len(before) == 0
	if parts, ok := x.parts[q]; ok && lasting {
		return parts
	}
	var out []part
	at := map[string]int{}
	file := func(answer string) set {
		i, ok := at[answer]
		if !ok {
			i = len(out)
			at[answer] = i
			out = append(out, part{answer, newSet(len(x.members))})
		}
		return out[i].members
	}
	switch {
	case q.Captures():
		for _, c := range x.captures {
			file(r.replyTo(q, c.first).text).unite(c.members)
		}
	case lasting:
		for i, m := range x.members {
			file(r.answerOf(q, before, m.first)).add(i)
		}
		x.parts[q] = out
	default:
		members.members(func(i int) bool {
			file(r.answerOf(q, before, x.members[i].first)).add(i)
			return true
		})
	}
	return out
}
