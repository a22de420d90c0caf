package generate

import "maps"

// soup adds objects that know nothing of each other.
func (w *world) soup() {
	for range w.IntN(4) {
		hosts := some(w, 2, externalHosts...)
		switch {
		case w.chance(0.2):
			hosts = []string{pick(w, wildcardHosts...)}
		case w.chance(0.06):
			// An entry that claims the name of a Service.
			hosts = []string{pick(w, w.services...).fqdn()}
		}
		w.entry(w.namespace(), hosts, w.anyPorts())
	}
	if w.chance(0.3) {
		w.workloadEntry(w.namespace())
	}
	for range w.IntN(3) {
		w.anyGateway()
	}
	for range w.IntN(4) {
		w.virtualService()
	}
	for range w.IntN(3) {
		host := pick(w, append(append([]string{}, externalHosts...), "*.example.com", "*.wild.test", "*.local", "*")...)
		ports := []int{80, 443, 8080}
		if w.chance(0.35) {
			host = pick(w, w.services...).fqdn()
			if w.chance(0.2) {
				host = "*.svc.cluster.local"
			}
		}
		w.rule(w.namespace(), host, ports)
	}
	for range w.IntN(3) {
		if w.chance(0.6) {
			w.policy(false)
		}
	}
	if w.chance(0.45) {
		for range w.between(1, 2) {
			w.sidecar()
		}
	}
	if w.chance(0.08) {
		w.tokens = true
		w.requestAuthentication()
	}
	if w.chance(0.02) {
		// The same object again, with something else in it: the last counts.
		twin := maps.Clone(pick(w, w.objects...))
		if other := pick(w, w.objects...); other["kind"] == twin["kind"] && other["spec"] != nil {
			twin["spec"] = other["spec"]
		}
		if kind := twin["kind"]; kind != "Deployment" && kind != "Namespace" {
			w.objects = append(w.objects, twin)
		}
	}
	if w.chance(0.15) {
		w.peerAuthentication()
	}
}
