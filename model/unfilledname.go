package model

import (
	"slices"
	"strings"
)

// namePattern tells which names a host with placeholders may be.
type namePattern struct {
	// pieces are what is certain, in lower case; anything may stand between them.
	pieces []string
	text   string
	// certain: what may stand between them is a matter of "*" alone.
	certain bool
}

// anything is the pattern of all names.
var anything = namePattern{pieces: []string{"", ""}}

// newNamePattern reads a host: placeholders and "*" may be anything.
func newNamePattern(value any) namePattern {
	text, ok := value.(string)
	if !ok {
		return anything
	}
	p := namePattern{text: text, certain: true}
	rest := text
	for rest != "" {
		at := placeholderPattern.FindStringIndex(rest)
		if open := openName.FindStringIndex(rest); open != nil && (at == nil || open[0] < at[0]) {
			at = open
		}
		if star := strings.IndexByte(rest, '*'); star >= 0 && (at == nil || star < at[0]) {
			at = []int{star, star + 1}
		}
		if at == nil {
			break
		}
		p.certain = p.certain && rest[at[0]] == '*'
		p.pieces = append(p.pieces, strings.ToLower(rest[:at[0]]))
		rest = rest[at[1]:]
	}
	p.pieces = append(p.pieces, strings.ToLower(rest))
	return p
}

// matches reports whether a name in lower case may be meant.
func (p *namePattern) matches(name string) bool {
	last := len(p.pieces) - 1
	if last == 0 {
		return name == p.pieces[0]
	}
	name, ok := strings.CutPrefix(name, p.pieces[0])
	if !ok {
		return false
	}
	for _, piece := range p.pieces[1:last] {
		_, rest, found := strings.Cut(name, piece)
		if !found {
			return false
		}
		name = rest
	}
	return strings.HasSuffix(name, p.pieces[last])
}

// all reports whether any name may be meant.
func (p *namePattern) all() bool {
	return len(p.pieces) > 1 && !slices.ContainsFunc(p.pieces, func(piece string) bool { return piece != "" })
}

// destinationsIn finds the hosts to which routes lead, in the order of their fields.
func destinationsIn(value any, found func(host any)) {
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			destinationsIn(e, found)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if k == "destination" || k == "delegate" {
				found(asMap(v[k])["host"]) // a delegate may lead anywhere
				continue
			}
			destinationsIn(v[k], found)
		}
	case string:
		if open(v) {
			found(nil) // whatever stands there
		}
	}
}

// read finds the hosts that the object is about, and what else is asked often.
func (u *Unfilled) read() {
	u.what, u.anywhere = u.Group()+"/"+u.Kind, placeholderPattern.MatchString(u.Namespace)
	u.exported, u.reached = readExport(u.spec["exportTo"]), readAddresses(u.spec["addresses"])
	u.ports = readPorts(u.spec["ports"])
	if u.Kind == "VirtualService" {
		for _, field := range []string{"http", "tls", "tcp"} {
			destinationsIn(u.spec[field], func(host any) { u.leads = append(u.leads, newNamePattern(host)) })
		}
	}
	field := map[string]string{"ServiceEntry": "hosts", "VirtualService": "hosts", "DestinationRule": "host",
		"HTTPRoute": "hostnames", "GRPCRoute": "hostnames", "TLSRoute": "hostnames"}[u.Kind]
	switch {
	case u.what == kubeGatewayGroup+"/Gateway": // of whose Services istiod makes the names
		u.names = []namePattern{newNamePattern(u.Name + "*." + u.Namespace + ".svc." + DomainSuffix)}
		return
	case u.Kind == "Service":
		u.names = []namePattern{newNamePattern(u.Name + "." + u.Namespace + ".svc." + DomainSuffix)}
		return
	case field == "":
		u.names = []namePattern{anything}
		return
	}
	value, found := u.spec[field]
	list, isList := value.([]any)
	switch {
	case isList && len(list) > 0:
		for _, e := range list {
			u.names = append(u.names, newNamePattern(e))
		}
	case found && !isList && field == "host":
		u.names = []namePattern{newNamePattern(value)}
	default: // a delegate, a route for all hosts, or a placeholder in place of the list
		u.names = []namePattern{anything}
	}
}

// About reports whether the object may be about a name, in lower case: one that it
// gives or, in place of what is open, any other.
func (u *Unfilled) About(name string) bool { return about(u.names, name, u) }

// Gives reports whether a host that the object gives for certain is a name.
func (u *Unfilled) Gives(name string) bool {
	return slices.ContainsFunc(u.names, func(p namePattern) bool { return p.certain && p.matches(name) })
}

// about reports whether one of the hosts that an object gives may be a name.
func about(list []namePattern, name string, u *Unfilled) bool {
	if slices.ContainsFunc(list, func(p namePattern) bool { return p.matches(name) }) {
		return true
	}
	// Rules and routes write Services by shorter names.
	short, ok := strings.CutSuffix(name, ".svc."+DomainSuffix)
	if !ok {
		return false
	}
	forms := []string{short, short + ".svc"}
	if service, namespace, _ := strings.Cut(short, "."); u.in(namespace) {
		forms = append(forms, service)
	}
	return slices.ContainsFunc(list, func(p namePattern) bool {
		return slices.ContainsFunc(forms, p.matches)
	})
}

// Any reports whether it may be about any name.
func (u *Unfilled) Any() bool {
	return slices.ContainsFunc(u.names, func(p namePattern) bool { return p.all() })
}

// Witnesses are names that it may be about, by what they are a witness of: a host with
// something in place of what is open. There is none for hosts that may be any.
func (u *Unfilled) Witnesses() (names, of []string) {
	for _, p := range u.names {
		last := len(p.pieces) - 1
		if p.all() || p.text == "" || strings.HasSuffix(p.pieces[last], "."+DomainSuffix) {
			continue
		}
		name := strings.Join(p.pieces, "witness")
		switch {
		case last == 0:
		case p.pieces[last] == "":
			name += ".invalid"
		}
		if strings.Contains(name, ".") {
			names, of = append(names, name), append(of, printable(p.text))
		}
	}
	return names, of
}
