package analyzers

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// Config says which rules run.
type Config struct {
	// Enable, where not empty, names the only rules that run; Disable names
	// rules that do not. Both take IDs.
	Enable, Disable []string
	// Severities gives the findings of a rule, by ID, another severity; Least
	// leaves out those below a severity, "" none.
	Severities map[string]Severity
	Least      Severity
	// Today is the day on which dated suppressions are judged; zero: none of
	// them has expired.
	Today time.Time
}

// Runs reports whether the configuration runs a rule.
func (c *Config) Runs(a *Analyzer) bool {
	return (len(c.Enable) == 0 || contains(c.Enable, a.ID)) && !contains(c.Disable, a.ID)
}

// All returns every rule, sorted by ID.
func All() []*Analyzer {
	rules := slices.Clone(registry)
	slices.SortFunc(rules, func(a, b *Analyzer) int { return cmp.Compare(a.ID, b.ID) })
	return rules
}

// ByID returns the rule of an ID or a name, nil if there is none.
func ByID(id string) *Analyzer {
	for _, a := range registry {
		if a.ID == id || a.Name == id {
			return a
		}
	}
	return nil
}

// registry is filled by the rules' own files.
var registry []*Analyzer

// register adds a rule; each rule's file calls it once.
//
//go:noinline
func register(a *Analyzer) *Analyzer {
	registry = append(registry, a)
	return a
}

// Run runs the rules over a mesh and returns their findings sorted by file,
// line, column, rule and message. Findings that the input asks to leave out are
// among them, marked as Suppressed. It loads and prints nothing.
func Run(mesh *model.Mesh, r *reach.Reach, config Config) []Finding {
	var ran []*Analyzer
	for _, a := range All() {
		if config.Runs(a) {
			ran = append(ran, a)
		}
	}
	passes := make([]*Pass, len(ran))
	found := make([][]Finding, len(ran))
	rules := make([]func(func(*inquiry) bool), len(ran))
	network, common := newNetwork(mesh, r), &shared{}
	for i, a := range ran {
		passes[i] = &Pass{Analyzer: a, Mesh: mesh, Reach: r, network: network, shared: common, Report: func(f Finding) {
			f.Rule = a
			if f.Flow != nil && f.Trace != nil && f.Trace.Guarantee == "" {
				f.Trace = r.Trace(*f.Flow)
			}
			if f.Severity == "" {
				f.Severity, f.SecuritySeverity = a.Severity, a.SecuritySeverity
			}
			found[i] = append(found[i], f)
		}}
		rules[i] = func(ask func(*inquiry) bool) {
			passes[i].ask = ask
			a.Run(passes[i])
		}
	}
	if len(ran) > 0 {
		together(passes[0], rules)
	}
	findings := slices.Concat(found...)
	findings = causes(findings)
	if config.Runs(duplicateObject) && len(ran) > 0 && severalMeshes(passes[0]) {
		lessen(findings)
	}
	if idle := suppress(findings, mesh.Directives, ran, config.Today, idleSuppression); config.Runs(idleSuppression) {
		findings = append(findings, idle...)
	}
	findings = config.grade(findings)
	return sorted(findings)
}

// sorted sorts findings by place, rule and message.
func sorted(findings []Finding) []Finding {
	type placed struct {
		Finding
		at manifest.Position
	}
	list := make([]placed, len(findings))
	for i := range findings {
		list[i] = placed{findings[i], findings[i].Place()}
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.Message, b.Message)) < 0
	})
	for i := range list {
		findings[i] = list[i].Finding
	}
	return findings
}

// grade gives findings the severities that the configuration wants and leaves
// out those below the least.
func (c *Config) grade(findings []Finding) []Finding {
	for i := range findings {
		if severity := c.Severities[findings[i].Rule.ID]; severity != "" {
			findings[i].Severity = severity
		}
	}
	return slices.DeleteFunc(findings, func(f Finding) bool { return f.Severity.Rank() < c.Least.Rank() })
}

// shared is what several rules ask for, and what is found once for all.
type shared struct {
	intent   *intent
	controls *controls
	gateways []*egressGateway
	found    bool
	// meaning finds whom rules mean: see Pass.meant.
	meaning *meaning
	// governing are the policies that decide about egress, nil until they are asked for.
	governing []governed
	// seen tells what clients see: see seenByClients.
	seen func(*model.Service) bool
	// workloads finds workloads: see selectable.
	workloads *workloadIndex
}

// explainedBy lists for a rule the rules whose finding at the same place says
// why: then one finding is told, with the other as related.
var explainedBy = map[string][]string{
	"EGR101": {"EGR112", "EGR114"},
	"EGR200": {"EGR201"},
	"EGR301": {"EGR216"},
	"EGR302": {"EGR812"},
	"EGR304": {"EGR305"},
	"EGR701": {"EGR605", "EGR702"},
	"EGR803": {"EGR305", "EGR308"},
	"EGR806": {"EGR305"},
	"EGR809": {"EGR402", "EGR403"},
}

// causes leaves out findings that another one at the same place explains.
func causes(findings []Finding) []Finding {
	at := map[*manifest.Object][]int{}
	for i := range findings {
		// Those about no object explain nothing; of unknown fields there may be many.
		if o := findings[i].Object; o != nil {
			at[o] = append(at[o], i)
		}
	}
	// by are the findings that explain one.
	by := func(f *Finding) []int {
		return slices.DeleteFunc(slices.Clone(at[f.Object]), func(i int) bool { return !explains(&findings[i], f) })
	}
	explained := make([]bool, len(findings))
	for i := range findings {
		explained[i] = len(by(&findings[i])) > 0
	}
	var out []Finding
	for i := range findings {
		f := &findings[i]
		if !explained[i] {
			continue
		}
		for _, j := range by(f) {
			if cause := &findings[j]; !explained[j] {
				if f.Severity.Rank() > cause.Severity.Rank() {
					cause.Severity = f.Severity // it is as grave as what comes of it
				}
				if cause.Flow == nil {
					cause.Flow, cause.Trace = f.Flow, f.Trace
				}
				cause.Related = append(cause.Related, Related{Object: f.Object, Field: f.Field, Message: f.Rule.ID + ": " + f.Message})
				break
			}
		}
	}
	for i := range findings {
		if !explained[i] {
			out = append(out, findings[i])
		}
	}
	return out
}
