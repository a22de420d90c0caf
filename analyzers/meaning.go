package analyzers

import "github.com/egresslint/egresslint/model"

// meaning finds the classes of clients that rules of policies mean by their conditions
// on identity. In a large mesh there are many rules and many clients, and most rules
// name the namespaces of a few.
type meaning struct {
	// place is that of a class by its first client, inNamespace the places of those of
	// a namespace.
	place       map[*model.Workload]int
	inNamespace map[string][]int
	of          map[meantRule]classSet
}

// meantRule is a rule as a control plane reads it.
type meantRule struct {
	push   *model.PushContext
	policy *model.AuthorizationPolicy
	index  int
}

// classSet is a set of classes by their place.
type classSet []uint64

func (s classSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// meant returns the classes that a rule means.
func (p *Pass) meant(push *model.PushContext, r authzRule) classSet {
	m := p.meaning()
	key := meantRule{push, r.Policy, r.Index}
	out, known := m.of[key]
	if known {
		return out
	}
	classes := p.Reach.Classes()
	out = make(classSet, (len(classes)+63)/64)
	try := func(i int) {
		if r.means(push, classes[i][0]) {
			out[i/64] |= 1 << (i % 64)
		}
	}
	if namespaces, ok := r.namespacesOf(); ok {
		for _, ns := range namespaces {
			for _, i := range m.inNamespace[ns] {
				try(i)
			}
		}
	} else {
		for i := range classes {
			try(i)
		}
	}
	m.of[key] = out
	return out
}

// means reports whether a rule means a client, which may be that of any class or a
// gateway.
func (p *Pass) means(push *model.PushContext, r authzRule, w *model.Workload) bool {
	if i, ok := p.meaning().place[w]; ok {
		return p.meant(push, r).has(i)
	}
	return r.means(push, w)
}

func (p *Pass) meaning() *meaning {
	if p.shared != nil && p.shared.meaning != nil {
		return p.shared.meaning
	}
	m := &meaning{place: map[*model.Workload]int{}, inNamespace: map[string][]int{}, of: map[meantRule]classSet{}}
	for i, class := range p.Reach.Classes() {
		m.place[class[0]] = i
		m.inNamespace[class[0].Namespace] = append(m.inNamespace[class[0].Namespace], i)
	}
	if p.shared != nil {
		p.shared.meaning = m
	}
	return m
}
