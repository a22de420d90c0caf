package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

// inputFlags say what the mesh is read from; every command that reads one
// takes them.
type inputFlags struct {
	namespace       string
	namespaceLabels []string
	set             []string
	assumeInjected  string
	meshConfig      []string
	config          string
	settings        []string // that the configuration gives
	allowPartial    bool
	verbose         bool
	color           string
}

func (f *inputFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.namespace, "namespace", "default", "namespace of objects that name none")
	fs.StringArrayVar(&f.namespaceLabels, "namespace-label", nil, "label that a namespace has in the cluster, as `NS:KEY=VALUE`; NS alone says that it exists (repeatable)")
	fs.StringArrayVar(&f.set, "set", nil, "installation setting as istioctl takes it, as `PATH=VALUE`: profile=demo, meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY (repeatable)")
	fs.StringVar(&f.assumeInjected, "assume-injected", "auto", "do workloads get a sidecar where no Namespace object tells: `auto|yes|no`")
	fs.StringArrayVar(&f.meshConfig, "mesh-config", nil, "`FILE` with Helm values or mesh configuration (repeatable)")
	fs.StringVar(&f.config, "config", "", "`FILE` with settings (default "+defaultConfig+" in the working directory, if there is one)")
	fs.BoolVar(&f.allowPartial, "allow-partial", false, "do not exit with 3 where some of the input was not analysed")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "list what was ignored or is not modelled")
	fs.StringVar(&f.color, "color", "auto", "colour text: `auto|always|never`; NO_COLOR is honoured")
	words(cmd, "assume-injected", "auto", "yes", "no")
	words(cmd, "color", "auto", "always", "never")
}

// check validates the values of the flags after the configuration is applied.
func (f *inputFlags) check() error {
	return errors.Join(ofFlag("assume-injected", oneOf(f.assumeInjected, "auto", "yes", "no")), ofFlag("color", oneOf(f.color, "auto", "always", "never")))
}

// loaded is a mesh and what it was read from.
type loaded struct {
	mesh *model.Mesh
	set  *manifest.Set
	// config is the configuration file that was read, "" if none, and settings
	// what it gives.
	config   string
	settings []string
	// firstFile is the first file, by name, that holds an object.
	firstFile string
}

// configure applies the configuration file to the flags that the command line
// leaves open, and checks those of the input.
func (c *Command) configure(cmd *cobra.Command, f *inputFlags) error {
	name, set, err := applyConfig(cmd.Flags(), f.config)
	if err != nil {
		return err
	}
	f.config, f.settings = name, set
	return f.check()
}

// load reads the mesh, once the flags are configured.
func (c *Command) load(cmd *cobra.Command, f *inputFlags, args []string) (*loaded, error) {
	paths, err := parsePaths(args)
	if err != nil {
		return nil, err
	}
	if err := checkNamespace(f.namespace); err != nil {
		return nil, fmt.Errorf("--namespace: %w", err)
	}
	labels, err := parseNamespaceLabels(f.namespaceLabels)
	if err != nil {
		return nil, ofFlag("namespace-label", err)
	}
	for _, assignment := range f.set {
		if err := model.CheckSet(assignment); err != nil {
			return nil, err
		}
	}
	done := c.progress("reading")
	files := manifest.Options{Paths: paths, Namespace: f.namespace, Stdin: c.Stdin, MeshConfig: f.meshConfig}
	if c.garbage != nil {
		files.Rest = c.garbage.rest
	}
	mesh, set, err := model.Load(context.Background(), files, model.Options{
		AssumeInjected:  f.assumeInjected,
		NamespaceLabels: labels,
		Set:             f.set,
	})
	done()
	if err != nil {
		return nil, hintCommand(cmd, args, err)
	}
	l := &loaded{mesh: mesh, set: set, config: f.config, settings: f.settings}
	for _, o := range set.Objects {
		if file := o.File(); file != "" && (l.firstFile == "" || file < l.firstFile) {
			l.firstFile = file
		}
	}
	set.Objects = nil // the mesh has those that decide something
	c.garbage.point(false)
	return l, nil
}

// stdinName is the name under which standard input is reported, and another
// word for the PATH "-".
const stdinName = "<stdin>"

// parsePaths reads PATH and PATH=NAMESPACE. A file whose own name holds a "="
// is taken as it is.
func parsePaths(args []string) ([]manifest.Path, error) {
	var paths []manifest.Path
	stdin := 0
	for _, arg := range args {
		path := manifest.Path{Name: arg}
		if i := strings.LastIndexByte(arg, '='); i > 0 {
			if _, err := os.Lstat(arg); err != nil {
				path = manifest.Path{Name: arg[:i], Namespace: arg[i+1:]}
				if path.Namespace == "" {
					return nil, fmt.Errorf("%q: no namespace after the =; write PATH=NAMESPACE", arg)
				}
				if err := checkNamespace(path.Namespace); err != nil {
					return nil, fmt.Errorf("PATH=NAMESPACE: %w", err)
				}
			}
		}
		if path.Name == "" {
			return nil, errors.New("a PATH is empty: name a file or a directory")
		}
		if path.Name == stdinName {
			path.Name = "-"
		}
		if path.Name == "-" {
			if stdin++; stdin > 1 {
				return nil, errors.New("standard input (-) is given twice; it can be read once")
			}
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// checkNamespace says why no namespace can have a name that is given.
func checkNamespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("no namespace can be called %q: write lower-case letters, digits and dashes, at most 63", name)
	}
	return nil
}

// parseNamespaceLabels reads NS:KEY=VALUE and NS.
func parseNamespaceLabels(args []string) ([]model.NamespaceLabel, error) {
	var labels []model.NamespaceLabel
	for _, arg := range args {
		namespace, label, labelled := strings.Cut(arg, ":")
		key, value, assigned := strings.Cut(label, "=")
		if namespace == "" || labelled && (key == "" || !assigned) || strings.ContainsAny(namespace, "=/") {
			return nil, fmt.Errorf("%q: write NS:KEY=VALUE, as in shop:istio-injection=enabled, or NS alone", arg)
		}
		if err := checkNamespace(namespace); err != nil {
			return nil, fmt.Errorf("%q: %w", arg, err)
		}
		labels = append(labels, model.NamespaceLabel{Namespace: namespace, Key: key, Value: value})
	}
	return labels, nil
}

// hintCommand adds to an error about a path that it looks like a mistyped
// command.
func hintCommand(cmd *cobra.Command, args []string, err error) error {
	if cmd.HasParent() || len(args) == 0 || strings.ContainsAny(args[0], "/.") {
		return err
	}
	if _, statErr := os.Lstat(args[0]); statErr == nil {
		return err
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := nearest(args[0], names); near != "" {
		return fmt.Errorf("%w (did you mean the command %q?)", err, near)
	}
	return err
}

// input sums up what was read, for a report.
func (l *loaded) input() report.Input {
	in := report.Input{
		Files: l.set.Files, Documents: l.set.Documents, Workloads: len(l.mesh.Workloads),
		FirstFile: l.firstFile, Partial: l.mesh.Partial(), Notes: slices.Clone(l.mesh.Notes),
		Ignored: l.mesh.Ignored, Unmodelled: l.mesh.Unmodelled, UnmodelledFields: l.mesh.UnmodelledFields,
	}
	if !slices.ContainsFunc(l.mesh.Workloads, func(w *model.Workload) bool { return w.Object.Implied == "" }) {
		in.Notes = append(in.Notes, "no workload in the input: whose requests get out, and how, cannot be told; give what runs in the mesh too")
	}
	if note := l.settingsNote(); note != "" {
		in.Notes = append(in.Notes, note)
	}
	if names := l.undeclared(); len(names) > 0 {
		in.Assumptions = append(in.Assumptions, assumption(l.mesh.InjectionAssumption, names))
	}
	return in
}

// settingsNote says what a configuration file sets, "" if there is none. It is in
// every report, or goes with it to standard error: a stranger's configuration must
// not turn rules off unseen.
func (l *loaded) settingsNote() string {
	switch {
	case l.config == "":
		return ""
	case len(l.settings) == 0:
		return "settings were read from " + l.config
	default:
		return "settings were read from " + l.config + " (" + strings.Join(l.settings, "; ") + ")"
	}
}

// undeclared returns the namespaces with workloads whose labels the input does
// not tell.
func (l *loaded) undeclared() []string {
	var names []string
	for _, w := range l.mesh.Workloads {
		ns := l.mesh.Namespaces[w.Namespace]
		if (ns == nil || !ns.Declared) && !slices.Contains(names, w.Namespace) {
			names = append(names, w.Namespace)
		}
	}
	slices.Sort(names)
	return names
}

func assumption(a model.InjectionAssumption, namespaces []string) string {
	shown, more := namespaces, ""
	if len(shown) > 5 {
		shown, more = shown[:5], fmt.Sprintf(" +%d more", len(namespaces)-5)
	}
	verb := "workloads get a sidecar"
	if !a.Injected {
		verb = "workloads get no sidecar unless they ask for one"
	}
	return fmt.Sprintf("in %s%s, for which there is no Namespace object, %s, %s (--assume-injected, --namespace-label)",
		strings.Join(shown, ", "), more, verb, a.Reason)
}

// finish sets the exit code: 3 for input that was not analysed whole goes
// before what a command found.
func (c *Command) finish(l *loaded, f *inputFlags, code int) {
	c.code = code
	if !l.mesh.Partial() || f.allowPartial {
		return
	}
	n := 0
	for _, p := range l.mesh.Problems {
		if p.Kind.Partial() {
			n++
		}
	}
	problems := "1 problem"
	if n != 1 {
		problems = fmt.Sprintf("%d problems", n)
	}
	c.complain(problems + " kept some of the input from being analysed (egresslint lint says which); --allow-partial accepts that")
	c.code = ExitPartial
}
