package analyzers

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// addressRange is an address of a ServiceEntry on one of its ports.
type addressRange struct {
	entry *model.ServiceEntry
	index int // of the address
	given netip.Prefix
}

func (n addressRange) field() string { return fmt.Sprintf("spec.addresses[%d]", n.index) }

// reportMaskedNetworks is about addresses that are single ones by their look and
// whole networks by their prefix, as fe80::1/32 is: two of them become one, and
// one entry takes what is meant for the other (istio pilot/pkg/networking/core/
// listener.go drops the second).
func (in *intent) reportMaskedNetworks() {
	p := in.pass
	type key struct {
		network netip.Prefix
		port    uint32
	}
	var order []key
	byKey := map[key][]addressRange{}
	for _, e := range p.Mesh.ServiceEntries {
		for i, text := range e.Spec.GetAddresses() {
			given, err := netip.ParsePrefix(text)
			if err != nil || given.Bits() == 0 {
				continue
			}
			for _, port := range e.Spec.GetPorts() {
				k := key{given.Masked(), port.GetNumber()}
				if byKey[k] == nil {
					order = append(order, k)
				}
				byKey[k] = append(byKey[k], addressRange{e, i, given})
			}
		}
	}
	for _, k := range order {
		all := byKey[k]
		first := all[0]
		i := slices.IndexFunc(all, func(n addressRange) bool {
			return n.entry != first.entry && n.given.Addr() != first.given.Addr() && n.given != n.given.Masked()
		})
		if i < 0 {
			continue
		}
		second := all[i]
		f := Finding{
			Severity: Warning, Object: second.entry.Object, Field: second.field(), Label: "is " + k.network.String(),
			Message: fmt.Sprintf("address %q of ServiceEntry %s is the whole network %s, and so is %q of ServiceEntry %s, which takes the connections to port %d of both; write /%d for a single address",
				second.given, second.entry.ID(), k.network, first.given, first.entry.ID(), k.port, second.given.Addr().BitLen()),
			Related: []Related{{first.entry.Object, first.field(), "the same network"}},
		}
		for _, class := range p.Reach.Classes() {
			w := class[0]
			push := in.pushFor(w)
			if !sees(push, first.entry, w) || !sees(push, second.entry, w) {
				continue
			}
			if f.Flow == nil {
				request := flow.Flow{From: reach.From(w), Host: second.given.Addr().String(), Port: int(k.port), Scheme: flow.TCP}
				t := p.Reach.Trace(request)
				if t.Outcome == flow.Unknown {
					continue
				}
				f.Flow, f.Trace = &request, t
			}
			f.Workloads = append(f.Workloads, workloadIDs(class)...)
		}
		if f.Flow == nil {
			continue
		}
		slices.Sort(f.Workloads)
		f.Workloads = slices.Compact(f.Workloads)
		p.Report(f)
	}
}

// sees reports whether an entry is exported to a workload's namespace.
func sees(push *model.PushContext, e *model.ServiceEntry, w *model.Workload) bool {
	return slices.ContainsFunc(push.Services(), func(s *model.Service) bool { return s.Entry == e && push.Visible(s, w.Namespace) })
}
