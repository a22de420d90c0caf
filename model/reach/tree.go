package reach

import (
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// tree is what is known about what flows of one kind come to, whoever sends them: a
// question about the client and what follows from its answers, or in the end that.
type tree[T any] struct {
	question traffic.Question
	// policies are the questions so far whose answers name network policies, each
	// others than those before.
	policies []traffic.Question
	next     map[string]*tree[T]
	end      *T
}

// after returns what follows from an answer.
func (t *tree[T]) after(answer string) *tree[T] {
	next := t.next[answer]
	if next == nil {
		next = &tree[T]{policies: t.policies}
		if strings.HasSuffix(answer, placeholder(len(t.policies))) {
			next.policies = append(slices.Clip(t.policies), t.question)
		}
		t.next[answer] = next
	}
	return next
}

// leaf returns where the answers of a class lead, nil where its kind has not been
// asked yet.
func (t *tree[T]) leaf(r *Reach, first *model.Workload) *tree[T] {
	for t != nil && t.end == nil {
		if t.next == nil {
			return nil
		}
		t = t.next[r.answerOf(t.question, t.policies, first)]
	}
	return t
}

// graft adds the questions that were asked about a class, and returns where they lead:
// whoever gives the same answers is asked the same.
func (t *tree[T]) graft(r *Reach, first *model.Workload, questions []traffic.Question) *tree[T] {
	seen := map[traffic.Question]bool{}
	for _, q := range questions {
		if seen[q] {
			continue
		}
		seen[q] = true
		if t.next == nil {
			t.question, t.next = q, map[string]*tree[T]{}
		}
		t = t.after(r.answerOf(t.question, t.policies, first))
	}
	return t
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

func (x *cohort) tree(place int) *tree[outcome] {
	t := x.trees[place]
	if t == nil {
		if x.trees == nil {
			x.trees = map[int]*tree[outcome]{}
		}
		t = &tree[outcome]{}
		x.trees[place] = t
	}
	return t
}

// grow asks the simulation for a class, adds what it asked and said to a tree, and
// returns where that is.
func (r *Reach) grow(t *tree[outcome], first *model.Workload, place int) *tree[outcome] {
	end := &outcome{plain: true}
	var questions []traffic.Question
	answers := r.decided(first, r.Universe()[place], func(f flow.Flow) *flow.Trace {
		trace, asked := r.Sim.Examine(f)
		questions = append(questions, asked...)
		end.plain = end.plain && !traffic.Known(trace)
		return trace
	})
	for i := range answers {
		end.plain = end.plain && len(answers[i].When) == 0 && answers[i].Address == ""
	}
	t = t.graft(r, first, questions)
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
	return t
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
