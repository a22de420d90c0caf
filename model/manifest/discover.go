package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// root is one path of the command line on disk.
type root struct {
	fs        *os.Root
	dir       string // real and absolute
	prefix    string // of the names shown: slashes, "" for the working directory
	outside   bool   // prefix is the end of a path outside of the working directory
	namespace string
	values    bool
	only      string // the one file to read, "" for all
	abs       string // as given, made absolute
	stdin     bool   // nothing else is set but the namespace
	// linked is where, within the root, the directory lies that is shown as
	// linkedAs, because a symbolic link leads there.
	linked, linkedAs string
}

// input is one file to read.
type input struct {
	*file
	dir       string // shown name of its directory
	root      *root
	namespace string
	values    bool // named by Options.MeshConfig
	named     bool // given by name, not found in a directory
	omitted   bool // not to be read as objects
}

// link is a symbolic link that was met.
type link struct {
	root *root
	rel  string
}

// discovery finds the files.
type discovery struct {
	opts   *Options
	inputs []*input
	// dirs are the real paths of the directories that were walked.
	dirs     map[string]bool
	visits   map[string]bool // of directories, by namespace and real path
	links    []link
	problems []Problem
	seen     map[string]*input // by real path and namespace
	shared   map[string]*file  // by real path
	full     bool
}

// discover finds the files that the options name, in the order of the input.
func discover(opts *Options) (*discovery, error) {
	d := &discovery{opts: opts, dirs: map[string]bool{}, visits: map[string]bool{}, seen: map[string]*input{}, shared: map[string]*file{}}
	var roots []*root
	for _, p := range opts.Paths {
		ns := cmp.Or(p.Namespace, opts.Namespace)
		if p.Name == "-" {
			if err := d.standardInput(); err != nil {
				return nil, err
			}
			roots = append(roots, &root{stdin: true, namespace: ns})
			continue
		}
		r, err := openRoot(p.Name, ns)
		if err != nil {
			return nil, err
		}
		roots = append(roots, r)
	}
	for _, name := range opts.MeshConfig {
		r, err := openRoot(name, opts.Namespace)
		if err != nil {
			return nil, err
		}
		if r.only == "" {
			return nil, fmt.Errorf("mesh configuration %q is a directory: give a file", printable(name))
		}
		r.values = true
		roots = append(roots, r)
	}
	distinguish(roots)
	for _, r := range roots {
		if r.stdin {
			d.add(&input{file: d.shared[""], namespace: r.namespace, named: true, dir: stdinName})
		} else {
			d.read(r)
		}
	}
	return d, nil
}

// stdinName is what positions show for standard input.
const stdinName = "<stdin>"

// standardInput reads all of it: positions are looked up later.
func (d *discovery) standardInput() error {
	if d.shared[""] != nil {
		return nil
	}
	if d.opts.Stdin == nil {
		return errors.New("standard input is not available: give a file or a directory")
	}
	b, err := io.ReadAll(io.LimitReader(d.opts.Stdin, d.opts.MaxFileBytes+1))
	if err != nil {
		return fmt.Errorf("standard input cannot be read: %w", err)
	}
	if int64(len(b)) > d.opts.MaxFileBytes {
		return fmt.Errorf("standard input is larger than %d MiB: write it to files and give their directory", d.opts.MaxFileBytes>>20)
	}
	text, _, _ := decode(b)
	d.shared[""] = &file{shown: stdinName, kept: text[:len(text):len(text)]}
	return nil
}

// openRoot opens a path that was given. A path within the working directory
// must not lead out of it by a link: the manifests may be those of a stranger's
// pull request, and what is read is quoted in reports.
func openRoot(name, namespace string) (*root, error) {
	shown := printable(name)
	if name == "" {
		return nil, errors.New("path is empty: give a file, a directory, or - for standard input")
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: no such file or directory", shown)
		}
		return nil, fmt.Errorf("%s cannot be read: %w", shown, withoutPath(err))
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", shown, withoutPath(err))
	}
	r := &root{dir: real, abs: abs, namespace: namespace}
	switch {
	case info.Mode().IsRegular():
		r.dir, r.only = filepath.Split(real)
		r.dir = filepath.Clean(r.dir)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is neither a file nor a directory: pipe it to egresslint -", shown)
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, ok := below(wd, abs); ok {
			realWd, err := filepath.EvalSymlinks(wd)
			if _, inside := below(realWd, real); err != nil || !inside {
				return nil, fmt.Errorf("%s is a link that leads out of the working directory: give the place it leads to", shown)
			}
			if rel != "." {
				r.prefix = filepath.ToSlash(rel)
			}
		} else {
			r.outside, r.prefix = true, filepath.Base(abs)
		}
	}
	if r.fs, err = os.OpenRoot(r.dir); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", shown, withoutPath(err))
	}
	return r, nil
}

// withoutPath drops the path, which may be absolute, from an error.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// below returns the path of an absolute path relative to a directory, if it is
// the directory or lies in it.
func below(dir, abs string) (string, bool) {
	rel, err := filepath.Rel(dir, abs)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	return rel, true
}

// read lists the files of a root.
func (d *discovery) read(r *root) {
	if r.only != "" {
		d.addFile(r, r.only, r.prefix, true)
		return
	}
	start := len(d.inputs)
	d.links = nil
	d.walk(r, ".", 0)
	for len(d.links) > 0 { // what a link leads to may hold links
		links := d.links
		d.links = nil
		for _, l := range links {
			d.follow(l)
		}
	}
	// Links come where their names are, as if they were files.
	slices.SortStableFunc(d.inputs[start:], func(a, b *input) int {
		return strings.Compare(strings.ReplaceAll(a.shown, "/", "\x00"), strings.ReplaceAll(b.shown, "/", "\x00"))
	})
}

// maxDirectories bounds the nesting of directories.
const maxDirectories = 200

// walk lists a directory. Hidden directories and node_modules are skipped.
func (d *discovery) walk(r *root, rel string, depth int) {
	real := filepath.Join(r.dir, rel)
	visit := r.namespace + "\x00" + real
	if d.visits[visit] || d.full {
		return
	}
	d.visits[visit], d.dirs[real] = true, true
	entries, err := fs.ReadDir(r.fs.FS(), filepath.ToSlash(rel))
	if depth > maxDirectories {
		entries, err = nil, fmt.Errorf("more than %d directories above it", maxDirectories)
	}
	if err != nil {
		d.problems = append(d.problems, Problem{Kind: Unreadable, Position: Position{File: r.shown(rel)},
			Message: "directory cannot be read: " + withoutPath(err).Error(), Help: "make it readable, or leave it out of the given paths"})
	}
	for _, e := range entries {
		child := filepath.Join(rel, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			d.links = append(d.links, link{r, child})
		case e.IsDir():
			if !strings.HasPrefix(e.Name(), ".") && e.Name() != "node_modules" {
				d.walk(r, child, depth+1)
			}
		case e.Type().IsRegular() && isManifest(e.Name()):
			d.addFile(r, child, r.shown(child), false)
		case isManifest(e.Name()):
			d.special(r.shown(child))
		}
	}
}

// special leaves out what has the name of a manifest and is no file: reading a
// pipe or device may never end.
func (d *discovery) special(shown string) {
	d.problems = append(d.problems, Problem{Kind: Unreadable, Position: Position{File: shown},
		Message: "neither a file nor a directory: left out", Help: "put a file there, or remove it"})
}

// isManifest reports whether a file found in a directory is to be read.
// "._name" are attributes that macOS writes.
func isManifest(name string) bool {
	if strings.HasPrefix(name, "._") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return isKustomization(name)
}

// shown gives the name that positions show for a path of the root.
func (r *root) shown(rel string) string {
	prefix := r.prefix
	if r.linked != "" {
		if inner, ok := below(r.linked, rel); ok {
			prefix, rel = r.linkedAs, inner
		}
	}
	return printable(path.Join(prefix, filepath.ToSlash(rel)))
}

// follow reads what a symbolic link leads to, if that is in the same root and
// was not read yet.
func (d *discovery) follow(l link) {
	name := filepath.Base(l.rel)
	problem := func(message string) {
		d.problems = append(d.problems, Problem{Kind: Unreadable, Position: Position{File: l.root.shown(l.rel)},
			Message: message, Help: "put the file itself there, or give its directory too"})
	}
	real, err := filepath.EvalSymlinks(filepath.Join(l.root.dir, l.rel))
	if err != nil {
		if isManifest(name) {
			problem("symbolic link leads nowhere: left out")
		}
		return
	}
	rel, inside := below(l.root.dir, real)
	info, err := os.Stat(real)
	if err != nil || !inside {
		// A link to another given path is read there.
		if err == nil && !d.given(real) && (info.IsDir() && !strings.HasPrefix(name, ".") || isManifest(name)) {
			problem("symbolic link leads out of the given path: left out")
		}
		return
	}
	switch {
	case info.IsDir() && !strings.HasPrefix(name, "."):
		through := *l.root
		through.linked, through.linkedAs = rel, l.root.shown(l.rel)
		d.walk(&through, rel, 0)
	case info.Mode().IsRegular() && isManifest(name):
		d.addFile(l.root, rel, l.root.shown(l.rel), false)
	case !info.IsDir() && isManifest(name):
		d.special(l.root.shown(l.rel))
	}
}

// given reports whether a real path lies in one of the other paths.
func (d *discovery) given(real string) bool {
	for _, p := range d.opts.Paths {
		if abs, err := filepath.Abs(p.Name); err == nil && p.Name != "-" {
			if dir, err := filepath.EvalSymlinks(abs); err == nil {
				if _, inside := below(dir, real); inside {
					return true
				}
			}
		}
	}
	return false
}

// addFile adds a file of a root.
func (d *discovery) addFile(r *root, rel, shown string, named bool) {
	real := filepath.Join(r.dir, rel)
	f := d.shared[real]
	if f == nil {
		f = &file{shown: printable(shown), root: r.fs, rel: rel, path: real}
		d.shared[real] = f
	}
	d.add(&input{file: f, dir: path.Dir(f.shown), root: r, namespace: r.namespace, values: r.values, named: named})
}

// add adds an input unless it is there already.
func (d *discovery) add(in *input) {
	key := in.namespace + "\x00" + in.path
	if old := d.seen[key]; old != nil {
		old.values = old.values || in.values
		old.named = old.named || in.named
		return
	}
	if in.values { // for which the namespace does not matter
		known := false
		for _, old := range d.inputs {
			if old.path == in.path {
				old.values, old.named, known = true, true, true
			}
		}
		if known {
			return
		}
	}
	if len(d.inputs) >= d.opts.MaxFiles {
		if !d.full {
			d.problems = append(d.problems, Problem{Kind: Unreadable, Position: Position{File: in.shown},
				Message: fmt.Sprintf("there are more than %d files: this and the following are left out", d.opts.MaxFiles), Help: "give the directories of one mesh only"})
		}
		d.full = true
		return
	}
	d.seen[key] = in
	d.inputs = append(d.inputs, in)
}

// distinguish makes the shown names of different places different: of paths
// outside of the working directory as much of the end is shown as it takes.
func distinguish(roots []*root) {
	for length := 2; ; length++ {
		clash := false
		for i, a := range roots {
			for j, b := range roots {
				if i == j || !a.outside || b.stdin || !clashes(a, b) {
					continue
				}
				parts := strings.Split(strings.Trim(filepath.ToSlash(a.abs), "/"), "/")
				if longer := path.Join(parts[max(0, len(parts)-length):]...); longer != a.prefix {
					a.prefix, clash = longer, true
				}
			}
		}
		if !clash {
			return
		}
	}
}

// clashes reports whether two roots show different files under one name.
func clashes(a, b *root) bool {
	if len(a.prefix) > len(b.prefix) {
		a, b = b, a
	}
	inner, found := strings.CutPrefix(b.prefix+"/", a.prefix+"/")
	if a.prefix == "" {
		inner, found = b.prefix, true
	}
	return found && filepath.Join(a.abs, filepath.FromSlash(inner)) != b.abs
}
