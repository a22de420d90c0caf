package generate

import "fmt"

// service is a Service of the cluster that objects may refer to.
type service struct {
	namespace, name string
	ports           []servicePort
	// gateway says that its pods are gateways.
	gateway bool
}

type servicePort struct {
	number   int
	protocol string // as Istio takes it from the port's name
}

func (s service) fqdn() string { return s.name + "." + s.namespace + ".svc.cluster.local" }

// gatewayPods is a gateway with its Service.
type gatewayPods struct {
	service service
	labels  map[string]any
}

// workloads makes clients, gateways and services of the mesh.
func (w *world) workloads() {
	w.client("default", "sleep", nil)
	w.client("app", "sleep", nil)
	if w.chance(0.5) {
		w.client("app", "batch", nil)
	}
	if w.chance(0.4) {
		w.client("other", "sleep", nil)
	}
	if w.chance(0.08) {
		w.client("default", "naked", map[string]any{"sidecar.istio.io/inject": "false"})
	}
	if w.chance(0.12) {
		key, value := "excludeOutboundPorts", pick(w, "443", "80,8443", "9000")
		switch w.IntN(4) {
		case 1:
			key, value = "excludeOutboundIPRanges", pick(w, "203.0.113.0/24", "203.0.113.9/32")
		case 2:
			key, value = "includeOutboundIPRanges", pick(w, "203.0.113.0/24", "10.0.0.0/8", "")
		case 3:
			key, value = "includeOutboundPorts", "443"
		}
		w.client("other", "leaky", nil)
		template(w.objects[len(w.objects)-1])["annotations"] = map[string]any{"traffic.sidecar.istio.io/" + key: value}
	}
	w.gatewayWorkload("istio-system", "istio-egressgateway", map[string]any{"app": "istio-egressgateway", "istio": "egressgateway"})
	if w.chance(0.3) {
		w.gatewayWorkload(pick(w, "egress", "app"), "second-egress", map[string]any{"app": "second-egress", "istio": pick(w, "egressgateway", "second")})
	}
	if w.chance(0.7) {
		w.server("other", "web", []servicePort{{80, "http"}, {9000, "tcp"}})
	}
	if w.chance(0.4) {
		w.server("app", "db", []servicePort{{pick(w, 3306, 5432), pick(w, "tcp", "mysql", "tls")}})
	}
	if w.chance(0.1) {
		w.kubeService(service{namespace: "default", name: "vm", ports: []servicePort{{80, "http"}, {9000, "tcp"}}}, map[string]any{"app": "vm"}, nil)
		if !w.chance(0.15) {
			w.machine("default", "vm")
		}
	}
	if w.chance(0.06) {
		// Without a selector, Endpoints of its own.
		w.kubeService(service{namespace: "app", name: "legacy", ports: []servicePort{{80, "http"}, {443, "tls"}}}, nil, nil)
		w.object("v1", "Endpoints", "app", "legacy", nil)["subsets"] = []any{map[string]any{
			"addresses": []any{map[string]any{"ip": "192.0.2.60"}},
			"ports":     []any{map[string]any{"name": "http", "port": 80}, map[string]any{"name": "tls-443", "port": 8443}},
		}}
		w.seen.targets = append(w.seen.targets, destination{"legacy.app.svc.cluster.local", 80, "http"}, destination{"legacy.app", 443, "tls"})
	}
	if w.chance(0.15) {
		external := map[string]any{"type": "ExternalName", "externalName": pick(w, "api.example.com", "web.other.svc.cluster.local", "www.wild.test")}
		if w.chance(0.7) {
			external["ports"] = []any{map[string]any{"name": "http", "port": 80}}
		}
		w.object("v1", "Service", "default", "alias", external)
		w.seen.hosts = append(w.seen.hosts, "alias.default.svc.cluster.local", "alias")
	}
}

func template(o Object) map[string]any {
	return o["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)
}

func (w *world) deployment(namespace, name, account string, labels map[string]any, container map[string]any) Object {
	return w.object("apps/v1", "Deployment", namespace, name, map[string]any{
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"serviceAccountName": account, "containers": []any{container}},
		},
	})
}

func (w *world) client(namespace, name string, annotations map[string]any) {
	labels := map[string]any{"app": name}
	if w.chance(0.3) {
		labels["version"] = pick(w, "v1", "v2")
	}
	o := w.deployment(namespace, name, pick(w, name, name, "default"), labels, map[string]any{"name": "app", "image": "example.com/client"})
	if annotations != nil {
		template(o)["annotations"] = annotations
	}
	w.clients = append(w.clients, namespace+"/"+name)
	if w.chance(0.5) {
		w.kubeService(service{namespace: namespace, name: name, ports: []servicePort{{80, "http"}}}, map[string]any{"app": name}, nil)
		// The Service comes before its workload in the list, so that the last
		// object is always the workload.
		n := len(w.objects)
		w.objects[n-1], w.objects[n-2] = w.objects[n-2], w.objects[n-1]
	}
}

func (w *world) gatewayWorkload(namespace, name string, labels map[string]any) {
	if namespace == "egress" {
		w.namespaces = append(w.namespaces, "egress")
		o := w.object("v1", "Namespace", "", "egress", nil)
		delete(o["metadata"].(map[string]any), "namespace")
	}
	ports := []servicePort{{80, "http2"}, {443, "https"}}
	switch {
	case w.tidy:
		ports = append(ports, servicePort{9000, pick(w, "tcp", "tls")})
	case w.chance(0.5):
		ports = append(ports, servicePort{pick(w, 9000, 3306), pick(w, "tcp", "tls")})
	}
	if w.chance(0.2) {
		ports = append(ports, servicePort{8080, "http"})
	}
	s := service{namespace: namespace, name: name, ports: ports, gateway: true}
	targets := map[int]any{80: 8080, 443: 8443}
	if w.chance(0.1) {
		targets = map[int]any{80: "http2", 443: "https"}
	}
	w.kubeService(s, labels, targets)
	container := map[string]any{
		"name": "istio-proxy", "image": "docker.io/istio/proxyv2", "args": []any{"proxy", "router"},
		"ports": []any{map[string]any{"name": "http2", "containerPort": 8080}, map[string]any{"name": "https", "containerPort": 8443}},
	}
	if w.chance(0.15) {
		container["env"] = []any{map[string]any{"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"}}
	}
	o := w.deployment(namespace, name, name+"-service-account", labels, container)
	template(o)["annotations"] = map[string]any{"sidecar.istio.io/inject": "false"}
	w.gateways = append(w.gateways, gatewayPods{service: s, labels: labels})
}

func (w *world) server(namespace, name string, ports []servicePort) {
	annotations := map[string]any{}
	if w.chance(0.3) {
		annotations["sidecar.istio.io/inject"] = "false"
	}
	s := service{namespace: namespace, name: name, ports: ports}
	targets := map[int]any{}
	if w.chance(0.5) {
		targets[80] = 8080
	}
	o := w.kubeService(s, map[string]any{"app": name}, targets)
	if w.chance(0.15) {
		o["spec"].(map[string]any)["clusterIP"] = "None"
		w.headless = append(w.headless, namespace+"/"+name)
	}
	if w.chance(0.1) {
		o["metadata"].(map[string]any)["annotations"] = map[string]any{"networking.istio.io/exportTo": pick(w, ".", "~", "default", "*")}
	}
	d := w.deployment(namespace, name, name, map[string]any{"app": name, "version": "v1"}, map[string]any{"name": "app", "image": "example.com/server"})
	template(d)["annotations"] = annotations
	for _, p := range ports {
		for _, host := range []string{s.fqdn(), name + "." + namespace} {
			w.seen.targets = append(w.seen.targets, destination{host, p.number, p.protocol})
		}
	}
}

func (w *world) kubeService(s service, selector map[string]any, targets map[int]any) Object {
	var ports []any
	for i, p := range s.ports {
		name := p.protocol
		if i > 0 {
			name = fmt.Sprintf("%s-%d", p.protocol, p.number)
		}
		port := map[string]any{"name": name, "port": p.number}
		switch {
		case w.chance(0.04):
			// Without a prefix that Istio knows the protocol is sniffed.
			port["name"] = "port-" + itoa(p.number)
		case w.chance(0.04):
			port["appProtocol"] = pick(w, "http", "https", "tcp", "kubernetes.io/h2c", "tls")
		}
		if target, found := targets[p.number]; found {
			port["targetPort"] = target
		}
		ports = append(ports, port)
		w.seen.ports = append(w.seen.ports, p.number)
	}
	w.services = append(w.services, s)
	if !s.gateway || w.chance(0.2) {
		w.seen.hosts = append(w.seen.hosts, s.fqdn())
	}
	spec := map[string]any{"ports": ports}
	if selector != nil {
		spec["selector"] = selector
	}
	return w.object("v1", "Service", s.namespace, s.name, spec)
}
