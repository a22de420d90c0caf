package model

import (
	"slices"
	"testing"
)

func TestWorkloads(t *testing.T) {
	m := loadDir(t, "workloads", Options{})
	wantProblems(t, m)
	type row struct{ name, template, account, app, unknown string }
	want := []row{
		{"CronJob apps/backup", "spec.jobTemplate.spec.template", "default", "backup", ""},
		{"Rollout apps/canary", "spec.template", "default", "canary", ""},
		{"DaemonSet apps/logs", "spec.template", "logs", "logs", ""},
		{"DeploymentConfig apps/openshift", "spec.template", "default", "openshift", ""},
		{"Pod apps/orphan", "", "default", "orphan", ""},
		{"ReplicationController apps/rc", "spec.template", "default", "rc", ""},
		{"Job apps/seed", "spec.template", "default", "seed", ""},
		{"Service apps/serverless", "spec.template", "knative", "serverless", ""},
		{"StatefulSet apps/store", "spec.template", "old-field", "store", ""},
		{"ScaledJob apps/stream", "spec.jobTargetRef.template", "default", "stream", ""},
		{"RayCluster apps/train", "", "default", "", "the manifest of RayCluster apps/train does not show its pods"},
		{"Rollout apps/uncertain", "", "default", "", "its pods are those of Deployment apps/elsewhere, which the input does not hold"},
		{"CloneSet apps/unreadable", "", "default", "", "its pod template cannot be read: spec.template.spec.containers[0].ports[0].containerPort cannot unmarshal string"},
		{"Deployment apps/web", "spec.template", "default", "web", ""},
	}
	var got []string
	for _, w := range m.Workloads {
		got = append(got, w.String())
	}
	for i, r := range want {
		if i >= len(m.Workloads) {
			t.Fatalf("workloads: %q", got)
		}
		w := m.Workloads[i]
		if w.String() != r.name || w.Template != r.template || w.ServiceAccount != r.account || w.Labels["app"] != r.app || !matches(w.PodUnknown, r.unknown) {
			t.Errorf("workload %d: %s, template %q, service account %q, labels %v, unknown %q; want %+v",
				i, w, w.Template, w.ServiceAccount, w.Labels, w.PodUnknown, r)
		}
		if (w.Pod == nil) != (r.unknown != "") {
			t.Errorf("%s: pod %v", w, w.Pod)
		}
	}
	if len(m.Workloads) != len(want) {
		t.Errorf("workloads: %q", got)
	}
	i := slices.IndexFunc(m.Workloads, func(w *Workload) bool { return w.Name == "seed" })
	if seed := m.Workloads[i]; seed.Labels["job-name"] != "seed" {
		t.Errorf("the pods of a Job have the label job-name: %v", seed.Labels)
	}
	web := m.Workloads[len(m.Workloads)-1]
	if p := web.Object.At(web.Field("spec.hostNetwork")).String(); p != "testdata/workloads/deployment.yaml:12:20" {
		t.Errorf("hostNetwork stands at %s", p)
	}
}

func TestProxyRole(t *testing.T) {
	for _, test := range []struct {
		name, pod string
		want      Role
	}{
		{"plain", `spec: {containers: [{name: app}]}`, NoProxy},
		{"kube-inject", `spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}`, SidecarProxy},
		{"native sidecar", `spec: {containers: [{name: app}], initContainers: [{name: istio-proxy, restartPolicy: Always, args: [proxy, sidecar]}]}`, SidecarProxy},
		{"to be completed by the injector", `spec: {containers: [{name: app}, {name: istio-proxy, image: auto}]}`, SidecarProxy},
		{"nothing but a proxy", `spec: {containers: [{name: istio-proxy, image: auto}]}`, Router},
		{"gateway of the old charts", `spec: {containers: [{name: istio-proxy, args: [proxy, router, --domain, x]}]}`, Router},
		{"gateway chart", `spec: {containers: [{name: istio-proxy, image: auto}]}
metadata: {annotations: {inject.istio.io/templates: "custom, gateway"}}`, Router},
		{"waypoint", `spec: {containers: [{name: istio-proxy, args: [proxy, waypoint]}]}`, WaypointProxy},
		{"another container that is called router", `spec: {containers: [{name: app, args: [proxy, router]}]}`, NoProxy},
		{"another template", `spec: {containers: [{name: app}]}
metadata: {annotations: {inject.istio.io/templates: grpc-agent}}`, NoProxy},
	} {
		text := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  selector: {matchLabels: {app: x}}\n  template:\n    " +
			indent(test.pod) + "\n"
		m := load(t, text, Options{})
		wantProblems(t, m)
		if got := m.Workloads[0].ProxyRole(); got != test.want {
			t.Errorf("%s: role %v, want %v", test.name, got, test.want)
		}
	}
}

func indent(s string) string {
	out := ""
	for _, r := range s {
		out += string(r)
		if r == '\n' {
			out += "    "
		}
	}
	return out
}
