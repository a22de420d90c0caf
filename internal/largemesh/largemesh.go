// Package largemesh writes the manifests of meshes of any size, alike in kinds,
// sizes and relations to those that companies have: for benchmarks, and to see
// how cost grows.
package largemesh

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.tmpl"))

// Options say how large a mesh is to be. Equal options give equal bytes.
type Options struct {
	// Workloads are Deployments, Hosts external hosts with two ports each.
	Workloads, Hosts int
	// Unshared gives each workload a Sidecar, a NetworkPolicy and an
	// AuthorizationPolicy of its own, and each host its own namespaces to see
	// it. Otherwise the workloads of a namespace share those of the namespace.
	Unshared bool
	Seed     uint64
}

// Sizes are the named sizes: about 1,000, 10,000 and 60,000 documents.
var Sizes = map[string]Options{
	"S": {Workloads: 160, Hosts: 80},
	"M": {Workloads: 1_660, Hosts: 830},
	"L": {Workloads: 10_000, Hosts: 5_000},
}

// workloadsOfNamespace is how many workloads one namespace has.
const workloadsOfNamespace = 20

// Summary says what was written.
type Summary struct {
	Files, Documents, Bytes int
}

// Write writes a mesh into a directory, which it makes and which must be empty
// if it exists.
func Write(dir string, opts Options) (Summary, error) {
	if opts.Workloads < 1 || opts.Hosts < 0 {
		return Summary{}, errors.New("a mesh needs a workload")
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return Summary{}, fmt.Errorf("%s is not empty: give a new directory", dir)
	}
	w := &writer{dir: dir, opts: opts, namespaces: (opts.Workloads + workloadsOfNamespace - 1) / workloadsOfNamespace}
	w.file("istio-system/istio.yaml", "system", nil)
	for i := range w.namespaces {
		w.namespace(i)
	}
	for i := range opts.Workloads {
		w.workload(i)
	}
	for i := range opts.Hosts {
		w.host(i)
	}
	return w.summary, w.err
}

// writer is one run of Write.
type writer struct {
	dir        string
	opts       Options
	namespaces int
	text       bytes.Buffer
	summary    Summary
	err        error // the first one
}

// file writes one file.
func (w *writer) file(name, of string, data any) {
	if w.err != nil {
		return
	}
	w.text.Reset()
	if w.err = templates.ExecuteTemplate(&w.text, of+".yaml.tmpl", data); w.err != nil {
		return
	}
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if w.err = os.MkdirAll(filepath.Dir(path), 0o755); w.err != nil {
		return
	}
	w.err = os.WriteFile(path, w.text.Bytes(), 0o644)
	w.summary.Files++
	w.summary.Bytes += w.text.Len()
	w.summary.Documents += 1 + bytes.Count(w.text.Bytes(), []byte("\n---\n"))
}

// random is a source for one object: it does not depend on the mesh's size.
func (w *writer) random(what uint64, i int) *rand.Rand {
	return rand.New(rand.NewPCG(w.opts.Seed, what<<32|uint64(i)))
}

// Streams of random.
const (
	ofNamespace = iota
	ofWorkload
	ofHost
)

var teams = []string{
	"payments", "orders", "checkout", "search", "catalog", "identity", "billing", "shipping", "pricing", "inventory",
	"notifications", "analytics", "fraud", "loyalty", "reviews", "returns", "warehouse", "partners", "support", "marketing",
}

var roles = []string{
	"api", "worker", "gateway", "scheduler", "importer", "exporter", "frontend", "backend", "sync", "webhook",
	"processor", "reporter", "indexer", "mailer", "batch", "cache", "proxy", "broker", "validator", "archiver",
}

func team(namespace int) string { return teams[namespace%len(teams)] }

func namespaceName(i int) string { return fmt.Sprintf("%s-%03d", team(i), i) }

// imports are the namespaces whose exported hosts a namespace uses.
func (w *writer) imports(i int) []string {
	if w.namespaces < 3 {
		return nil
	}
	r := w.random(ofNamespace, i)
	return []string{namespaceName((i + 1 + r.IntN(w.namespaces/3)) % w.namespaces), namespaceName((i + 1 + w.namespaces/3 + r.IntN(w.namespaces/3)) % w.namespaces)}
}

// hostsOf returns the range of the hosts that a namespace owns.
func (w *writer) hostsOf(namespace int) (from, to int) {
	return namespace * w.opts.Hosts / w.namespaces, (namespace + 1) * w.opts.Hosts / w.namespaces
}

// external is an external host.
type external struct {
	name     string
	wildcard bool
	// gateway says that it is reached through the egress gateway, originate
	// that proxies make TLS of its port 80.
	gateway, originate bool
}

func (w *writer) external(i int) external {
	r := w.random(ofHost, i)
	e := external{name: fmt.Sprintf("%s-%04d.partner-%02d.example.com", roles[r.IntN(len(roles))], i, r.IntN(40))}
	switch n := r.IntN(100); {
	case n < 3:
		e.wildcard = true
		e.name = "*." + e.name
	case n < 53:
		e.gateway = true
	case n < 65:
		e.originate = true
	}
	return e
}

func (w *writer) namespace(i int) {
	r := w.random(ofNamespace, i)
	_, _ = r.IntN(8), r.IntN(8) // those of imports
	name := namespaceName(i)
	var gateway []string
	for h, to := w.hostsOf(i); h < to; h++ {
		if e := w.external(h); e.gateway {
			gateway = append(gateway, e.name)
		}
	}
	w.file("namespaces/"+name+"/namespace.yaml", "namespace", map[string]any{
		"Name": name, "Team": team(i), "Tier": r.IntN(4), "CPU": 20 + 10*r.IntN(8), "Shared": !w.opts.Unshared,
		"Injected": r.IntN(20) > 0, "Open": r.IntN(5) == 0, "Sidecar": r.IntN(10) > 0, "Imports": w.imports(i), "Gateway": gateway,
	})
}

// variable is one of a container's environment.
type variable struct{ Name, Value string }

func (w *writer) workload(i int) {
	r := w.random(ofWorkload, i)
	at := i / workloadsOfNamespace
	namespace := namespaceName(at)
	name := fmt.Sprintf("%s-%s-%d", team(at), roles[i%len(roles)], i)
	var env []variable
	for n := range 2 + r.IntN(5) {
		env = append(env, variable{fmt.Sprintf("%s_%s_URL", strings.ToUpper(roles[(i+n)%len(roles)]), strings.ToUpper(team(at+n))),
			fmt.Sprintf("http://%s-%s-%d.%s.svc.cluster.local", team(at+n), roles[(i+n)%len(roles)], i+n, namespace)})
	}
	excluded := ""
	if r.IntN(25) == 0 {
		excluded = "9200"
	}
	w.file("namespaces/"+namespace+"/workloads/"+name+".yaml", "workload", map[string]any{
		"Name": name, "Namespace": namespace, "Team": team(at), "Port": 8080 + r.IntN(3), "Replicas": 2 + r.IntN(6), "CPU": 50 * (1 + r.IntN(10)),
		"Version": fmt.Sprintf("v%d.%d.%d", 1+r.IntN(4), r.IntN(30), r.IntN(10)), "Commit": fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()),
		"Excluded": excluded, "Env": env, "Calls": w.calls(r, at), "Shared": !w.opts.Unshared, "Block": fmt.Sprintf("198.%d.%d.%d/32", 18+r.IntN(2), i>>8&255, i&255),
	})
}

// calls picks hosts that a workload calls: three of its own namespace and one
// of any.
func (w *writer) calls(r *rand.Rand, namespace int) []string {
	var calls []string
	add := func(i int) {
		name := strings.TrimPrefix(w.external(i).name, "*.")
		for _, other := range calls {
			if other == name {
				return
			}
		}
		calls = append(calls, name)
	}
	if from, to := w.hostsOf(namespace); to > from {
		for range 3 {
			add(from + r.IntN(to-from))
		}
	}
	if w.opts.Hosts > 0 {
		add(r.IntN(w.opts.Hosts))
	} else {
		calls = append(calls, "nowhere.example.com")
	}
	return calls
}

func (w *writer) host(i int) {
	e := w.external(i)
	r := w.random(ofHost, i)
	_, _, _ = r.IntN(8), r.IntN(8), r.IntN(8) // those of external
	at := i * w.namespaces / w.opts.Hosts
	for from, to := w.hostsOf(at); i < from || i >= to; from, to = w.hostsOf(at) {
		at++
	}
	export := w.exportTo(r, at)
	if e.gateway && export[0] != "*" {
		export = append(export, "istio-system")
	}
	name := strings.ReplaceAll(strings.TrimPrefix(e.name, "*."), ".", "-")
	w.file("namespaces/"+namespaceName(at)+"/egress/"+name+".yaml", "host", map[string]any{
		"Name": name, "Namespace": namespaceName(at), "Host": e.name, "Wildcard": e.wildcard, "Gateway": e.gateway, "Originate": e.originate, "ExportTo": export,
		"Partner": strings.Split(name, "-")[0], "Ticket": 1000 + r.IntN(9000), "Connections": 10 * (1 + r.IntN(50)), "Timeout": 1 + r.IntN(30),
	})
}

// exportTo picks the namespaces that see a host.
func (w *writer) exportTo(r *rand.Rand, at int) []string {
	n := r.IntN(10)
	switch {
	case w.opts.Unshared:
		n = 3 + r.IntN(6)
	case n < 6:
		return []string{"."}
	case n < 8:
		return []string{"*"}
	default:
		n = 2
	}
	export, seen := []string{"."}, map[int]bool{at: true}
	for range n {
		if other := r.IntN(w.namespaces); !seen[other] {
			seen[other] = true
			export = append(export, namespaceName(other))
		}
	}
	return export
}
