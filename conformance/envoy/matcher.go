package envoy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	matcher "github.com/cncf/xds/go/xds/type/matcher/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	network "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// chainMatcher finds the filter chain of a connection by a tree of questions, in
// place of the criteria of the chains (listener.filter_chain_matcher).
type chainMatcher struct {
	root     *matcher.Matcher
	chains   map[string]*compiledChain
	fallback *compiledChain
	rejected string
}

// matching is one run of a chainMatcher.
type matching struct {
	inspected
	// unknown names a part of the tree that is not modelled.
	unknown string
}

func newChainMatcher(l *listener.Listener) *chainMatcher {
	m := &chainMatcher{root: l.GetFilterChainMatcher(), chains: map[string]*compiledChain{}}
	for _, chain := range l.GetFilterChains() {
		if m.chains[chain.GetName()] != nil {
			m.rejected = fmt.Sprintf("two filter chains have the name %q", chain.GetName())
		}
		m.chains[chain.GetName()] = compileChain(chain)
	}
	if l.GetDefaultFilterChain() != nil {
		m.fallback = compileChain(l.GetDefaultFilterChain())
	}
	return m
}

// find returns the chain of a connection, nil if none matches; unknown names a part of
// the tree that is not modelled, "" for none.
func (m *chainMatcher) find(in inspected) (chain *compiledChain, unknown string) {
	at := &matching{inspected: in}
	chain = m.fallback
	if name, ok := at.match(m.root); ok {
		chain = m.chains[name]
	}
	return chain, at.unknown
}

func (m *matching) match(tree *matcher.Matcher) (string, bool) {
	t := tree.GetMatcherTree()
	if t == nil {
		m.unknown = "matcher that is no tree"
		return "", false
	}
	if custom := t.GetCustomMatch(); custom != nil {
		if name, ok := m.matchAddress(t); ok {
			return name, true
		}
	} else if value, present := m.input(t); present {
		if found := t.GetExactMatchMap().GetMap()[value]; found != nil {
			if name, ok := m.action(found); ok {
				return name, true
			}
		}
	}
	// What a branch does not decide goes to what is there for no match.
	if tree.GetOnNoMatch() != nil {
		return m.action(tree.GetOnNoMatch())
	}
	return "", false
}

func (m *matching) action(on *matcher.Matcher_OnMatch) (string, bool) {
	if inner := on.GetMatcher(); inner != nil {
		return m.match(inner)
	}
	name := &wrapperspb.StringValue{}
	if err := on.GetAction().GetTypedConfig().UnmarshalTo(name); err != nil {
		m.unknown = "action " + on.GetAction().GetName()
		return "", false
	}
	return name.GetValue(), true
}

// input is what the connection has to say to a question.
func (m *matching) input(t *matcher.Matcher_MatcherTree) (string, bool) {
	config, err := t.GetInput().GetTypedConfig().UnmarshalNew()
	if err != nil {
		m.unknown = "input " + t.GetInput().GetName()
		return "", false
	}
	switch config.(type) {
	case *network.DestinationPortInput:
		return strconv.Itoa(int(m.destination.Port())), true
	case *network.DestinationIPInput:
		return m.destination.Addr().String(), true
	case *network.ServerNameInput:
		return m.serverName, m.serverName != ""
	case *network.TransportProtocolInput:
		return m.transport, true
	case *network.ApplicationProtocolInput:
		// ApplicationProtocolInput::get: 'h2','http/1.1'
		text := ""
		for i, name := range m.applications {
			if i > 0 {
				text += ","
			}
			text += "'" + name + "'"
		}
		return text, text != ""
	default:
		m.unknown = "input " + t.GetInput().GetName()
		return "", false
	}
}

// matchAddress follows IPMatcher: of the ranges that contain the address the most
// specific first, of equal ones in their order, until one decides (TrieMatcher::match).
func (m *matching) matchAddress(t *matcher.Matcher_MatcherTree) (string, bool) {
	ranges := &matcher.IPMatcher{}
	if err := t.GetCustomMatch().GetTypedConfig().UnmarshalTo(ranges); err != nil {
		m.unknown = "matcher " + t.GetCustomMatch().GetName()
		return "", false
	}
	type candidate struct {
		bits int
		on   *matcher.Matcher_OnMatch
	}
	var found []candidate
	for _, r := range ranges.GetRangeMatchers() {
		best := -1
		for _, c := range r.GetRanges() {
			address, err := netip.ParseAddr(c.GetAddressPrefix())
			if err != nil {
				m.unknown = "range " + c.GetAddressPrefix()
				return "", false
			}
			prefix, err := address.Prefix(int(c.GetPrefixLen().GetValue()))
			if err == nil && prefix.Contains(m.destination.Addr()) {
				best = max(best, prefix.Bits())
			}
		}
		if best >= 0 {
			found = append(found, candidate{best, r.GetOnMatch()})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.bits - a.bits })
	for _, c := range found {
		if name, ok := m.action(c.on); ok {
			return name, true
		}
	}
	return "", false
}
