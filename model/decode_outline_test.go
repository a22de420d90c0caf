package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// richDeployment is in the style in which kubectl and charts write.
const richDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  labels:
    app: rich
  annotations:
    example.com/note: text
    sidecar.istio.io/inject: "true"
  generation: 4
spec:
  replicas: 3
  selector:
    matchLabels:
      app: rich
  strategy:
    rollingUpdate:
      maxSurge: 25%
      maxUnavailable: 0
  template:
    metadata:
      labels:
        app: rich
        version: "1"
      annotations:
        prometheus.io/port: "8080"
        traffic.sidecar.istio.io/excludeOutboundPorts: "25"
    spec:
      serviceAccountName: rich
      terminationGracePeriodSeconds: 45
      # who it is
      securityContext:
        runAsUser: 10001
        fsGroup: 2000
        seccompProfile:
          type: RuntimeDefault
      initContainers:
        - name: wait
          image: example.com/wait
          args: [sh, -c]
          resources:
            limits:
              cpu: 500m
      containers:
        - name: app
          image: example.com/app:v1
          imagePullPolicy: IfNotPresent
          command:
            - run
            - "--port=8080"
          ports:
            - name: http
              containerPort: 8080
          envFrom:
            - configMapRef:
                name: rich
          env:
            - name: A
              value: "b"
            - name: SECRET
              valueFrom:
                secretKeyRef:
                  name: s
                  key: k
                  optional: false
          resources:
            requests:
              cpu: 1
              memory: 256Mi
          livenessProbe:
            httpGet:
              path: /healthz
              port: 8080
            periodSeconds: 10
          readinessProbe:
            exec:
              command: [test, "-f"]
          lifecycle:
            preStop:
              exec:
                command:
                  - sleep
                  - "5"
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              add: [NET_RAW]
              drop:
                - ALL
          volumeMounts:
            - name: tmp
              mountPath: /tmp
        - env:
            - name: B
              value: c
          name: helper
          image: example.com/helper
          args:
            - |
              wait
              forever
      tolerations:
        - operator: Exists
          tolerationSeconds: 5
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - key: disk
                    operator: In
                    values: [ssd, nvme]
      volumes:
        - name: tmp
          emptyDir: {}
        - name: config
          configMap:
            name: rich
status:
  replicas: 3
`

// TestOutlineAgrees holds that Decode makes the same of documents of which only
// what counts was parsed as of whole ones.
func TestOutlineAgrees(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	values := []string{"null", "~", "", "1", "-1", "1.5", "4294967296", "true", "on", "\"x\"", "'1'", "x", "[]", "{}", "[a, 'b']", "[a, 1]", "{a: b}", "|", ">-", "|+", "500m", "1x", "25%", "istio-proxy", "discovery", "HTTP_PROXY", "/etc/certs", "{{ x }}", "é", "x # c", "&a x", "!!str 5"}
	lines := []string{"surplus: 1", "hostPath:", "name: istio-proxy", "- name: istio-init", "- name: more", "key:", "# remark", "image: 5", "hostNetwork: true", "hostPID: yes", "- x", "replicas: x", "$patch: delete", "sidecar.istio.io/inject: no"}
	// What takes back that something is left out.
	telling := []*strings.Replacer{
		strings.NewReplacer("name: A", "name: HTTP_PROXY"), strings.NewReplacer("name: SECRET", "name: HTTPS_PROXY"), strings.NewReplacer("name: B", "name: http_proxy"),
		strings.NewReplacer("mountPath: /tmp", "mountPath: /etc/certs"), strings.NewReplacer("configMap:\n            name: rich", "hostPath:\n            path: /proc"),
		strings.NewReplacer("emptyDir: {}", "hostPath: {}"), strings.NewReplacer("name: helper", "name: istio-proxy"), strings.NewReplacer("name: wait", "name: istio-init"),
		strings.NewReplacer("name: app\n          image", "name: discovery\n          image"), strings.NewReplacer("256Mi", "256Mx"), strings.NewReplacer("              add: [NET_RAW]\n", ""),
		strings.NewReplacer("        runAsUser: 10001\n", ""), strings.NewReplacer("            allowPrivilegeEscalation: false\n", ""), strings.NewReplacer("optional: false", "optional: \"false\""),
		strings.NewReplacer("port: 8080\n            periodSeconds", "port: 1.5\n            periodSeconds"), strings.NewReplacer("  capabilities:\n", "  capabilities:\n              surplus: 1\n"),
		strings.NewReplacer("note: text", "note: 5"), strings.NewReplacer("image: example.com/helper", "image: 5"),
	}
	var texts []string
	for range 800 {
		whole := strings.TrimSuffix(richDeployment, "\n")
		for range r.IntN(3) {
			whole = telling[r.IntN(len(telling))].Replace(whole)
		}
		rows := strings.Split(whole, "\n")
		for range r.IntN(4) {
			at := 4 + r.IntN(len(rows)-4)
			indent := rows[at][:len(rows[at])-len(strings.TrimLeft(rows[at], " -"))]
			switch r.IntN(7) {
			case 0:
				rows = slices.Insert(rows, at, strings.ReplaceAll(indent, "-", " ")+lines[r.IntN(len(lines))])
			case 1:
				rows = slices.Delete(rows, at, at+1)
			case 2:
				to := min(len(rows), at+1+r.IntN(8))
				rows = slices.Insert(rows, at, rows[at:to]...) // perhaps a repeated key
			case 3:
				rows[at] = strings.Repeat(" ", r.IntN(3)) + rows[at]
			case 4:
				rows = slices.Delete(rows, at, min(len(rows), at+1+r.IntN(8)))
			default:
				if key, _, found := strings.Cut(rows[at], ":"); found {
					rows[at] = key + ": " + values[r.IntN(len(values))]
				}
			}
		}
		text := strings.Join(rows, "\n") + "\n"
		switch r.IntN(12) {
		case 0:
			text = strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "\n        - ", "\n      - ", "\n          ", "\n        ").Replace(text)
		case 1:
			text = strings.Replace(text, "apps/v1", "batch/v1", 1)
			text = strings.Replace(text, "kind: Deployment", "kind: Job", 1)
		case 2:
			text = strings.Replace(text, "apps/v1", "example.com/v1", 1)
		}
		texts = append(texts, strings.Replace(text, "NAME", "one", 1)+"---\n"+strings.Replace(text, "NAME", "two", 1))
	}
	if sifted := outlinesAgree(t, texts); sifted < 300 {
		t.Errorf("of %d documents something was left out", sifted)
	}
}

// TestOutlineAgreesOnFiles does the same with the project's manifests.
func TestOutlineAgreesOnFiles(t *testing.T) {
	var texts []string
	for _, text := range projectManifests(t) {
		texts = append(texts, text+"\n---\n"+text) // one document alone is parsed whole
	}
	outlinesAgree(t, texts)
}

// outlinesAgree returns of how many documents something was left out.
func outlinesAgree(t *testing.T, texts []string) int64 {
	t.Helper()
	var sifted, decoded atomic.Int64
	for _, text := range texts {
		load := func(outline func(string, string) *manifest.Outline, decode manifest.Decoder) string {
			set, err := manifest.Load(context.Background(), manifest.Options{
				Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text), Decode: decode, Unread: unread, Outline: outline,
			})
			if err != nil {
				return err.Error()
			}
			var b strings.Builder
			fmt.Fprintln(&b, set.Documents, set.OtherDocuments, set.Problems)
			for _, o := range slices.Concat(set.Objects, set.Rejected) {
				fmt.Fprintf(&b, "%s %s %v %v %s %s\n", o.APIVersion, o, o.Labels, o.Annotations, o.At("spec.template.spec.containers[0].image"), o.At(""))
				if w, ok := o.Value.(*Workload); ok {
					decoded.Add(1)
					fmt.Fprintf(&b, "%q %v %v %q %q %+v %v\n", w.Template, w.Labels, w.Annotations, w.ServiceAccount, w.PodUnknown, w.Pod, w.owners)
				} else if o.Value != nil {
					fmt.Fprintln(&b, reflect.TypeOf(o.Value))
				}
			}
			return b.String()
		}
		whole := load(nil, Decode)
		rest := load(outline, func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			if podTemplates[o.Group()+"/"+o.Kind] != nil && !doc.Has("spec.replicas") && strings.Contains(text, "\n  replicas:") {
				sifted.Add(1)
			}
			return Decode(o, doc)
		})
		if whole != rest {
			t.Fatalf("%s\nwhole:\n%s\nwithout what does not count:\n%s", text, whole, rest)
		}
	}
	if decoded.Load() < int64(len(texts)/4) {
		t.Errorf("only %d workloads among %d texts", decoded.Load()/2, len(texts))
	}
	return sifted.Load()
}
