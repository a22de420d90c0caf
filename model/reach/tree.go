package reach

import (
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// tree is what is known about the answers for a destination: a question and what
// follows from its answers, or in the end an outcome.
type tree struct {
	question traffic.Question
	// policies are the questions so far whose answers name network policies, each
	// others than those before.
	policies []traffic.Question
	next     map[string]*tree
	end      *outcome
}

// outcome is how a destination fares.
type outcome struct {
	// fate has placeholders for the network policies of the client that stop it,
	// which are those that policies tell.
	fate     int32
	policies []traffic.Question
	// plain: as one that nothing registers, whatever its name.
	plain bool
}

// placeholder stands for the network policies that the i-th question tells.
func placeholder(i int) string { return "\x00" + strconv.Itoa(i) }

func (x *cohort) tree(place int) *tree {
	t := x.trees[place]
	if t == nil {
		if x.trees == nil {
			x.trees = map[int]*tree{}
		}
		t = &tree{}
		x.trees[place] = t
	}
	return t
}

// grow asks the simulation for a class, and adds what it asked and said to a tree.
func (r *Reach) grow(t *tree, first *model.Workload, place int) {
	end := &outcome{plain: true}
	seen := map[traffic.Question]bool{}
	var questions []traffic.Question
	answers := r.decided(first, r.Universe()[place], func(f flow.Flow) *flow.Trace {
		trace, asked := r.Sim.Examine(f)
		for _, q := range asked {
			if !seen[q] {
				seen[q] = true
				questions = append(questions, q)
			}
		}
		end.plain = end.plain && !traffic.Known(trace)
		return trace
	})
	for i := range answers {
		end.plain = end.plain && len(answers[i].When) == 0 && answers[i].Address == ""
	}
	for _, q := range questions {
		if t.next == nil {
			t.question, t.next = q, map[string]*tree{}
		}
		// Whoever gave the same answers was asked the same.
		answer := r.answerOf(t.question, t.policies, first)
		next := t.next[answer]
		if next == nil {
			next = &tree{policies: t.policies}
			if strings.HasSuffix(answer, placeholder(len(t.policies))) {
				next.policies = append(slices.Clip(t.policies), t.question)
			}
			t.next[answer] = next
		}
		t = next
	}
	end.policies = t.policies
	end.fate = r.fate(renamed(answers, func(policy string) string {
		for i, q := range end.policies {
			if r.replyTo(q, first).policies == policy {
				return placeholder(i)
			}
		}
		return policy
	}))
	t.end = end
}

// renamed gives the network policies in answers other names.
func renamed(answers []Answer, name func(string) string) []Answer {
	out := slices.Clone(answers)
	for i := range out {
		a := &out[i]
		if a.Reason == flow.NetworkPolicy && a.Policy != "" {
			a.Policy = name(a.Policy)
		}
		if len(a.When) == 0 {
			continue
		}
		a.When = slices.Clone(a.When)
		for j := range a.When {
			if c := &a.When[j]; c.Reason == flow.NetworkPolicy && c.Policy != "" {
				c.Policy = name(c.Policy)
			}
		}
	}
	return out
}

// fateFor returns the fate of a class whose outcome is known.
func (r *Reach) fateFor(o outcome, first *model.Workload) int32 {
	if len(o.policies) == 0 {
		return o.fate
	}
	names := make([]string, len(o.policies))
	key := strconv.Itoa(int(o.fate))
	for i, q := range o.policies {
		names[i] = r.replyTo(q, first).policies
		key += " " + names[i]
	}
	n, ok := r.renamings[key]
	if !ok {
		n = r.fate(renamed(r.fates[o.fate], func(policy string) string {
			for i, name := range names {
				if policy == placeholder(i) {
					return name
				}
			}
			return policy
		}))
		r.renamings[key] = n
	}
	return n
}

// reply is the answer to a question.
type reply struct{ text, policies string }

// replyTo returns the answer to a question for a class.
func (r *Reach) replyTo(q traffic.Question, first *model.Workload) reply {
	if !q.Lasting() {
		text, policies := r.Sim.Answer(q, first)
		return reply{text, policies}
	}
	known := r.answered[q]
	if known == nil {
		known = map[*model.Workload]reply{}
		r.answered[q] = known
	}
	a, ok := known[first]
	if !ok {
		a.text, a.policies = r.Sim.Answer(q, first)
		known[first] = a
	}
	return a
}

// answerOf returns the answer to a question for a class, in which the policies that
// it names are those of a question before, or others.
func (r *Reach) answerOf(q traffic.Question, before []traffic.Question, first *model.Workload) string {
	a := r.replyTo(q, first)
	if a.policies == "" {
		return a.text
	}
	i := slices.IndexFunc(before, func(o traffic.Question) bool { return r.replyTo(o, first).policies == a.policies })
	if i < 0 {
		i = len(before)
	}
	return a.text + placeholder(i)
}
