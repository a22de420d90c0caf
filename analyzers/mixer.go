package analyzers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// openDespite is what Mixer configuration was to control and what is open
// because nothing reads it: requests to hosts behind an egress gateway with
// paths that the configuration names.
type openDespite struct {
	what      []string // "edition.cnn.com/politics"
	workloads []string
	everybody bool
	flow      *flow.Flow
	trace     *flow.Trace
}

// maxMixerQuestions bounds how many requests are tried.
const maxMixerQuestions = 200

// mixerPath matches the paths in Mixer's expressions and lists.
var mixerPath = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// matchPath finds paths within a match expression, as in
// request.path.startsWith("/politics").
var matchPath = regexp.MustCompile(`request\.path[^"&|]*"(/[A-Za-z0-9._~/-]*)"`)

// findOpenDespite asks for each path that a rule's expression names, else for
// those in lists, whether clients get it from the hosts that are sent through an
// egress gateway. It is empty where nothing is.
func findOpenDespite(p *Pass) *openDespite {
	out := &openDespite{}
	var paths, listed []string
	for _, o := range p.Mesh.Legacy {
		if o.Group() != "config.istio.io" {
			continue
		}
		tree, _ := o.Value.(map[string]any)
		spec, _ := tree["spec"].(map[string]any)
		if match, ok := spec["match"].(string); ok {
			for _, m := range matchPath.FindAllStringSubmatch(match, -1) {
				paths = append(paths, m[1])
			}
		}
		list, _ := spec["overrides"].([]any)
		for _, e := range list {
			if s, ok := e.(string); ok && mixerPath.MatchString(s) {
				listed = append(listed, s)
			}
		}
	}
	if len(paths) == 0 {
		paths = listed
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	clients := 0
	asked := 0
	for _, class := range p.Reach.Classes() {
		clients += len(class)
		reached := false
		for _, g := range egressGateways(p) {
			for _, s := range g.Steers {
				if s.Host.IsWildCarded() {
					continue
				}
				for _, path := range paths {
					if asked++; asked > maxMixerQuestions {
						return out
					}
					f := flow.Flow{From: reach.From(class[0]), Host: string(s.Host), Port: 80, Scheme: flow.HTTP, Path: path}
					t := p.Reach.Sim.Trace(f)
					if t.Outcome != flow.Allowed || t.Via != flow.ViaGateway {
						continue
					}
					reached = true
					if what := string(s.Host) + path; !contains(out.what, what) {
						out.what = append(out.what, what)
					}
					if out.flow == nil {
						out.flow, out.trace = &f, t
					}
				}
			}
		}
		if reached {
			out.workloads = append(out.workloads, workloadIDs(class)...)
		}
	}
	slices.Sort(out.workloads)
	out.everybody = len(out.workloads) == clients
	return out
}

// tell adds to a finding what is open.
func (o *openDespite) tell(f *Finding) {
	if o.flow == nil {
		return
	}
	who := strings.TrimSpace(upTo3(o.workloads))
	if o.everybody {
		who = "everybody (" + who + ")"
	}
	f.Message += fmt.Sprintf(", and %s is reachable for %s", upTo3(o.what), who)
	f.Flow, f.Trace, f.Workloads = o.flow, o.trace, o.workloads
}
