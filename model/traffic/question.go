package traffic

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/netpol"
)

// Question is something that the simulation has asked about the client of a flow,
// beside how its proxy is configured. Clients whose proxies are configured alike and
// for which all questions have the same answers fare alike.
type Question struct {
	kind questionKind
	// to is the pod that network policies are asked about, dst an address.
	to       *model.Workload
	dst      netip.AddrPort
	port     int
	protocol corev1.Protocol
	// name is the host where policies may be about names, else "".
	name string
	// rule and index are asked whether they are about the sender.
	rule  *policyRule
	index *ruleIndex
	// about is what else the rule looks at.
	about *subject
}

type questionKind int

const (
	// The zero kind: anything about the client may matter.
	_ questionKind = iota
	// captureAsked: does the proxy see connections to dst?
	captureAsked
	// egressAsked, ingressAsked, addressAsked, internetAsked: do network policies
	// let connections to a pod leave, and arrive there; to an address; to the internet?
	egressAsked
	ingressAsked
	addressAsked
	internetAsked
	// sealedAsked: do network policies leave it nothing but lookups of names?
	sealedAsked
	// ruleAsked: is the client one of those whom a rule is about? principalAsked:
	// which of those whom an index of rules names?
	ruleAsked
	principalAsked
)

// Answer answers a question for a client. The answer has the same text for clients
// for which it makes no other difference than in the names of the policies that stop
// a flow.
func (s *Simulation) Answer(q Question, w *model.Workload) (answer, policies string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	push := func() *model.PushContext { return s.push(s.mesh.ConfigFor(w)) }
	switch q.kind {
	case captureAsked:
		c := s.capture(w)
		v, others := c.Outbound(q.dst), c.Others(q.dst)
		answer := "none" // made from few words, as it is asked often
		if v.Captured {
			answer = "all"
		}
		if v.Some {
			answer += " or some"
		}
		if others.Captured {
			answer += ", and others"
		}
		return answer, ""
	case egressAsked:
		return verdictText(s.network.Egress(w, netpol.Peer{Workload: q.to, Addr: push().PodAddress(q.to), Port: q.port, Protocol: q.protocol}))
	case ingressAsked:
		return verdictText(s.network.Ingress(q.to, q.port, q.protocol, netpol.Peer{Workload: w, Addr: push().PodAddress(w)}))
	case addressAsked:
		return verdictText(s.network.Egress(w, netpol.Peer{Addr: q.dst.Addr(), Port: q.port, Protocol: q.protocol}))
	case internetAsked:
		return verdictText(s.network.Named(w, cmp.Or(q.name, noName), q.port, q.protocol))
	case sealedAsked:
		return strconv.FormatBool(s.sealed(w, q.port, q.protocol)), ""
	case ruleAsked:
		who, conn := *q.about, *q.about.connection
		if who.identityOfClient {
			who.identity = push().Identity(w)
		}
		if conn.fromClient {
			conn.sourceIP = push().PodAddress(w)
		}
		who.connection = &conn
		return strconv.FormatBool(q.rule.isFrom(&who)), ""
	case principalAsked:
		key := nameKey{principalAttribute, push().Identity(w)}
		if len(q.index.byName[key]) > 0 {
			return key.value, ""
		}
		return "", ""
	default:
		return From(w), ""
	}
}

// From names a workload as flows do.
//
//go:noinline
func From(w *model.Workload) string {
	return w.Namespace + "/" + strings.ToLower(w.Kind) + "/" + w.Name
}

func verdictText(v netpol.Verdict) (answer, policies string) {
	switch v.Decision {
	case netpol.Allowed:
		return "", ""
	case netpol.Denied:
		return "denied", strings.Join(v.Policies, ",")
	default:
		return fmt.Sprint(v.Decision, " ", v.Foreign), ""
	}
}

// Captures reports whether a question is whether the client's proxy sees some
// connections; its answer is the same for clients whose capture has one signature.
func (q *Question) Captures() bool { return q.kind == captureAsked }

// Lasting reports whether a question is worth remembering: others are asked but once.
func (q *Question) Lasting() bool { return q.kind < ruleAsked && q.kind != captureAsked }

// Examine is [Simulation.Verdict], with the questions that were asked about the
// client, in their order.
func (s *Simulation) Examine(f flow.Flow) (*flow.Trace, []Question) {
	s.mu.Lock()
	w := &walker{sim: s, flow: f, examined: true}
	t := inOrder(w.start())
	s.mu.Unlock()
	t.ID = f.ID
	if len(s.suppositions) > 0 || len(s.choices(w)) > 0 || w.contested != nil {
		// What else may be is tried by itself.
		return s.Verdict(f), append(w.questions, Question{})
	}
	return t, w.questions
}

// ask notes a question.
func (w *walker) ask(q Question) {
	if w.examined {
		w.questions = append(w.questions, q)
	}
}

// askWho notes that anything about the client may matter.
func (w *walker) askWho() { w.ask(Question{}) }

// askNetwork notes a question about network policies, if they are the client's.
func (w *walker) askNetwork(from *model.Workload, q Question) {
	if w.examined && from == w.client {
		q.protocol = w.protocol()
		w.ask(q)
	}
}

// sourceAttributes are the conditions of rules that look at who sends; remoteAttributes
// look at what he says of himself, too.
var (
	sourceAttributes = map[string]bool{
		"ipBlocks": true, "namespaces": true, "trustDomains": true, "serviceAccounts": true, "principals": true,
		"source.ip": true, "source.namespace": true, "source.trustDomain": true, "source.serviceAccount": true, "source.principal": true,
	}
	remoteAttributes = map[string]bool{"remoteIpBlocks": true, "remote.ip": true}
)

// isFrom reports whether the sender is one of those whom a rule is about.
func (r *policyRule) isFrom(s *subject) bool {
	for _, c := range r.from {
		if c.matches(s) {
			return true
		}
	}
	return false
}

// askSource notes the question whether a client is one of those whom a rule is about,
// if the rule asks.
func (s *subject) askSource(r *policyRule) {
	if s.walker == nil || !s.walker.examined {
		return
	}
	asks := false
	for _, c := range r.from {
		for i := range c {
			if remoteAttributes[c[i].attribute] {
				s.walker.askWho()
				return
			}
			asks = asks || sourceAttributes[c[i].attribute]
		}
	}
	if asks && (s.identityOfClient || s.connection.fromClient) {
		about, conn := *s, *s.connection
		about.connection, about.walker = &conn, nil
		s.walker.ask(Question{kind: ruleAsked, rule: r, about: &about})
	}
}
