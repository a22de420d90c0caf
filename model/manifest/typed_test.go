package manifest

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/internal/testseed"
)

const richPod = `apiVersion: v1
kind: Pod
metadata:
  name: rich
  creationTimestamp: 2026-01-01T00:00:00Z
  labels: {app: rich, "1": "2"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true}]
spec:
  serviceAccountName: rich
  hostNetwork: false
  terminationGracePeriodSeconds: 45
  nodeSelector:
    disk: ssd
  securityContext:
    runAsUser: 10001
    fsGroup: 5000000000
    sysctls: []
  containers:
    - name: app
      image: example.com/app:v1
      command: [sh, -c, "true"]
      ports:
        - containerPort: 8080
          name: http
          protocol: TCP
      env:
        - name: A
          value: b
        - name: SECRET
          valueFrom:
            secretKeyRef: {name: s, key: k, optional: false}
      resources:
        requests: {cpu: 150m, memory: 256Mi}
        limits: {cpu: 2}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
      readinessProbe:
        tcpSocket: {port: 8080}
      securityContext:
        capabilities: {drop: [ALL]}
        runAsNonRoot: true
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    - name: projected
      projected:
        sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3600}
  tolerations:
    - operator: Exists
      tolerationSeconds: 5
`

// TestFillAgreesWithUnmarshal holds that what Fill takes is what Unmarshal makes
// of it, and that it sees unknown fields where UnknownFields does.
func TestFillAgreesWithUnmarshal(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	odd := []string{"null", "~", "", "1", "-1", "1.5", "4294967296", "99999999999999999999", "true", "on", "\"x\"", "'1'", "x", "[]", "{}", "[null]", "{a: null}", "0x10", "1e3", "1_000", "2026-01-01", "{unknown: 1}", "!!str 5", "&a x"}
	whole := ShapeOf(reflect.TypeFor[corev1.Pod](), nil)
	lean := ShapeOf(reflect.TypeFor[corev1.Pod](), func(of reflect.Type, field string) bool {
		return of == reflect.TypeFor[corev1.Container]() && field != "Name" || field == "Volumes"
	})
	filledOnes := 0
	for range 3000 {
		rows := strings.Split(strings.TrimSuffix(richPod, "\n"), "\n")
		for range r.IntN(3) {
			at := 4 + r.IntN(len(rows)-4)
			switch r.IntN(6) {
			case 0:
				rows[at] = strings.Repeat(" ", 2*r.IntN(4)) + "surplus: 1"
			case 1:
				rows = append(rows[:at], rows[at+1:]...)
			default:
				if key, _, found := strings.Cut(rows[at], ":"); found {
					rows[at] = key + ": " + odd[r.IntN(len(odd))]
				}
			}
		}
		text := strings.Join(rows, "\n") + "\n"
		decode := func(_ *Object, doc *Document) (any, []Problem) {
			var filled, skipped, want corev1.Pod
			ok, unknown := doc.Fill("", &filled, whole)
			if lightly, same := doc.Fill("", &skipped, lean); ok != lightly || ok && unknown != same {
				t.Errorf("%s\ntaken whole: %v, with fields dropped: %v", text, ok, lightly)
				return nil, nil
			}
			if !ok {
				return nil, nil
			}
			filledOnes++
			if err := doc.Unmarshal(&want); err != nil {
				t.Errorf("%s\ntaken, but: %v", text, err)
				return nil, nil
			}
			if !reflect.DeepEqual(filled, want) {
				t.Errorf("%s\ngot  %+v\nwant %+v", text, filled, want)
				return nil, nil
			}
			for i := range want.Spec.Containers {
				want.Spec.Containers[i] = corev1.Container{Name: want.Spec.Containers[i].Name}
			}
			want.Spec.Volumes = nil
			if !reflect.DeepEqual(skipped, want) {
				t.Errorf("%s\nwithout the dropped fields\ngot  %+v\nwant %+v", text, skipped, want)
				return nil, nil
			}
			if fields := doc.UnknownFields("", corev1.Pod{}); unknown != (len(fields) > 0) {
				t.Errorf("%s\nunknown %v, but fields are %v", text, unknown, fields)
				return nil, nil
			}
			return nil, nil
		}
		if t.Failed() {
			break
		}
		if _, err := Load(context.Background(), Options{Paths: []Path{{Name: "-"}}, Stdin: strings.NewReader(text), Decode: decode}); err != nil {
			t.Fatal(err)
		}
	}
	if filledOnes < 500 {
		t.Errorf("only %d documents were taken", filledOnes)
	}
}
