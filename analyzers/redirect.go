package analyzers

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// trafficAnnotation is the prefix of the annotations that steer the redirect.
const trafficAnnotation = "traffic.sidecar.istio.io/"

// redirectSetting is a setting of the redirect to sidecars: an annotation of the
// pod, without its prefix, and the value of the installation for pods without it
// (istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml).
type redirectSetting struct{ annotation, value string }

// of returns what holds for a workload, and whether anything in the input says so.
func (s redirectSetting) of(mesh *model.Mesh, w *model.Workload) (text string, ok bool) {
	if text, ok := w.Annotations[trafficAnnotation+s.annotation]; ok {
		return text, true
	}
	v, ok := mesh.ConfigFor(w).Value("global.proxy." + s.value)
	return fmt.Sprint(v), ok
}

// place returns where that stands.
func (s redirectSetting) place(mesh *model.Mesh, w *model.Workload) exclusion {
	if _, own := w.Annotations[trafficAnnotation+s.annotation]; own {
		return exclusion{w.Object, w.Field(annotationField(trafficAnnotation + s.annotation))}
	}
	at := mesh.ConfigFor(w).ValuePlace("global.proxy." + s.value)
	return exclusion{at.Object, at.Field}
}

// decided reports whether a connection was left alone because of the setting.
func (s redirectSetting) decided(t *flow.Trace) bool {
	for _, h := range t.Hops {
		for _, b := range h.Because {
			if strings.HasSuffix(b.Field, annotationField(trafficAnnotation+s.annotation)) || strings.HasSuffix(b.Field, "global.proxy."+s.value) {
				return true
			}
		}
	}
	return false
}

// exclusion is a place that takes connections away from sidecars.
type exclusion struct {
	object *manifest.Object
	field  string
}

// exclusions gathers leaks by the place that opens them.
type exclusions struct {
	order []exclusion
	of    map[exclusion]*leak
}

// add takes in what gets around the sidecars of a class because of a setting.
func (x *exclusions) add(p *Pass, class []*model.Workload, s redirectSetting, found leak) {
	if !found.found() {
		return
	}
	if x.of == nil {
		x.of = map[exclusion]*leak{}
	}
	for _, w := range class {
		key := s.place(p.Mesh, w)
		if key.object == nil {
			continue // a value that nothing in the input sets
		}
		if x.of[key] == nil {
			x.of[key] = &leak{}
			x.order = append(x.order, key)
		}
		x.of[key].add(found, w)
	}
}

// addressSet returns the addresses of some prefixes but for those of others; all
// are constants.
func addressSet(with, without []string) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, s := range with {
		b.AddPrefix(netip.MustParsePrefix(s))
	}
	for _, s := range without {
		b.RemovePrefix(netip.MustParsePrefix(s))
	}
	return built(&b)
}

func without(a, b *netipx.IPSet) *netipx.IPSet {
	var c netipx.IPSetBuilder
	c.AddSet(a)
	c.RemoveSet(b)
	return built(&c)
}

func both(a, b *netipx.IPSet) *netipx.IPSet {
	var c netipx.IPSetBuilder
	c.AddSet(a)
	c.Intersect(b)
	return built(&c)
}

// built returns the set of a builder to which only valid prefixes were added.
func built(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}
