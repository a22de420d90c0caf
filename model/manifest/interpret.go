package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"sync/atomic"

	"go.yaml.in/yaml/v4"
)

// task is one fragment to parse.
type task struct {
	in    *input
	text  []byte // of the whole file
	piece fragment
	ytt   bool // the file is a template for ytt
	list  *list
	// inOneGo says that a stream may parse it, root what one has made of it.
	inOneGo bool
	root    *yaml.Node
	// before is how many lines of the stream stand before the document.
	before int
	// skimmed is the object, where that was told without parsing.
	skimmed *Object
	// rest is the document without what nobody asks for, nil if that is all of it.
	// A stream parses the rest; alone, the whole is parsed.
	rest []byte
}

// list is a List whose items are tasks of their own.
type list struct {
	whole fragment
	types itemType
	ytt   bool
	// broken is set when an item did not parse and the whole is to be parsed
	// instead.
	broken atomic.Bool
}

// result is what became of tasks.
type result struct {
	objects, values, rejected []*Object
	problems                  []Problem
	templates                 []template
	// doubts are problems only if the file is about Kubernetes at all.
	doubts            []Problem
	documents, others int
}

// interpret parses a fragment, makes objects of it and adds them to a result.
func (l *loader) interpret(t *task, r *result) {
	if t.list != nil && t.list.broken.Load() {
		return // nobody will look at it
	}
	defer func() {
		// No input may end the program; that this one would have is said.
		if p := recover(); p != nil {
			r.documents++
			r.problems = append(r.problems, Problem{
				Kind: Unreadable, Position: t.start(), Message: fmt.Sprintf("reading the document failed (%v): left out", p),
				Help: "this is a defect of egresslint: please report it",
			})
		}
	}()
	if t.skimmed != nil {
		r.documents++
		r.objects = append(r.objects, t.skimmed)
		return
	}
	if t.rest != nil && t.root != nil {
		before := *r
		t.interpretParsed(l, r)
		if r.isOneMore(&before) {
			return
		}
		*r = before // something is the matter: see where in the whole document
	}
	t.rest = nil
	t.interpretParsed(l, r)
}

// isOneMore reports whether a result is another one with one object more.
func (r *result) isOneMore(before *result) bool {
	return len(r.objects) == len(before.objects)+1 && r.documents == before.documents+1 && r.others == before.others &&
		len(r.values) == len(before.values) && len(r.rejected) == len(before.rejected) && len(r.problems) == len(before.problems) &&
		len(r.templates) == len(before.templates) && len(r.doubts) == len(before.doubts)
}

// interpretParsed parses a fragment, if that was not done, and makes objects of it.
func (t *task) interpretParsed(l *loader, r *result) {
	raw := t.text[t.piece.off:t.piece.end]
	if len(raw) > l.opts.MaxDocumentBytes {
		r.documents++
		r.unread(t.ours(raw), Problem{
			Kind: Unreadable, Position: t.start(),
			Message: fmt.Sprintf("document has %d MiB, more than the %d that are read in one piece: left out", len(raw)>>20, l.opts.MaxDocumentBytes>>20),
			Help:    "split it; Lists in the form that kubectl prints are read item by item",
		})
		return
	}
	if t.piece.excerpt {
		r.documents++
		r.templates = append(r.templates, template{t.start(), excerpt})
		return
	}
	if t.piece.ignored != nil {
		r.documents++
		r.unread(t.ours(raw), Problem{
			Kind: Unreadable, Position: t.start(), Message: "document is left out: " + t.piece.ignored.why, Help: t.piece.ignored.remedy,
		})
		return
	}
	roots, part, err := t.parse(l.opts)
	hash, braces := maphash.Bytes(l.store.seed, raw), bytes.Contains(raw, []byte("{{"))
	for i, root := range roots {
		d := &draft{task: t, result: r, loader: l, document: i, part: part, hash: hash, braces: braces}
		d.file = &tree{root: root, text: part, opts: l.opts}
		if p, differ := d.disagreement(); differ {
			r.documents++
			r.unread(t.ours(raw), p)
			continue
		}
		var types itemType
		if t.list != nil {
			types = t.list.types
		}
		d.interpret(root, nil, types)
	}
	if err != nil {
		r.documents++
		if t.list != nil && t.list.whole.end-t.list.whole.off <= l.opts.MaxDocumentBytes {
			t.list.broken.Store(true)
		}
		t.unparsed(part, err, l.opts.MaxDepth, r)
	}
}

// parse parses the fragment, or returns what a stream has made of it.
func (t *task) parse(opts *Options) ([]*yaml.Node, *text, error) {
	if t.root == nil {
		return t.piece.parse(t.text, opts)
	}
	root := t.root
	t.root = nil // for its memory
	return []*yaml.Node{root}, &text{bytes: t.piece.of(t.text), line: t.piece.line, column: t.piece.column}, nil
}

// start is where the fragment begins.
func (t *task) start() Position {
	return Position{File: t.in.shown, Line: t.piece.line, Column: t.piece.column}
}

// position is that of an offset in the fragment's text.
func (t *task) position(part *text, offset int) Position {
	line, column := part.place(offset)
	return Position{File: t.in.shown, Line: line, Column: column}
}

// manifestPattern finds what an object has and most other files have not.
var manifestPattern = regexp.MustCompile(`(?m)^[ \t{,"'-]*(apiVersion|kind|metadata|meshConfig)["']?[ \t]*:`)

// unparsed reports a document that does not parse: as a template, if it looks
// like one, and only if it may be meant for Kubernetes: not every directory
// holds manifests alone.
func (t *task) unparsed(part *text, err error, maxDepth int, r *result) {
	syntax := &syntaxError{message: err.Error()}
	errors.As(err, &syntax)
	failed := syntax.offsetIn(part)
	ours := t.ours(part.bytes)
	if ours {
		if language, offset := templateText(part.bytes, failed, maxDepth); language != "" {
			r.templates = append(r.templates, template{t.position(part, offset), language})
			return
		}
		if m := elisionPattern.FindIndex(part.bytes); m != nil {
			r.templates = append(r.templates, template{t.position(part, m[1]-len(bytes.TrimLeft(part.bytes[m[0]:m[1]], " \t"))), excerpt})
			return
		}
	}
	p := t.position(part, failed)
	r.unread(ours, Problem{Kind: Unreadable, Position: p, Message: "document does not parse: " + syntax.message, Help: syntax.help})
}

// unread adds the problem of a document that was not read. Where it may be
// another tool's, that is a doubt only.
func (r *result) unread(ours bool, p Problem) {
	if ours {
		r.problems = append(r.problems, p)
	} else {
		r.others++
		r.doubts = append(r.doubts, p)
	}
}

// ours reports whether a text that cannot be read was meant for us.
func (t *task) ours(text []byte) bool {
	return t.in.named || t.in.values || manifestPattern.Match(text)
}

// draft is a document on the way to an object.
type draft struct {
	*task
	*result
	loader   *loader
	document int
	file     *tree // the document
	part     *text // the fragment that it is in
	hash     uint64
	braces   bool // the fragment has "{{" somewhere
	// inspected is what was found in the document.
	inspected *inspection
}

// interpret makes an object of a document, or of an item of a List; path leads
// to it through Lists.
func (d *draft) interpret(root *yaml.Node, path []int, types itemType) {
	opts := d.loader.opts
	root = follow(root)
	h := readHeader(root, opts)
	if h.isList() && len(path) < 4 {
		for i, item := range h.items.Content {
			d.interpret(item, append(slices.Clone(path), i), h.itemType())
		}
		return
	}
	d.documents++
	if !h.isObject() && (types.apiVersion == "" || isNull(h.metadata)) {
		d.other(root, h)
		return
	}
	if d.in.values && (isNull(h.apiVersion) || isNull(h.kind)) {
		d.keepValues(root, "")
		return
	}
	in, ok := d.check(root)
	if !ok {
		return
	}
	o, flaw, foreign := identify(h, types, opts)
	switch {
	case flaw != nil:
		d.flawed(o, root, flaw)
		if o != nil && flaw.kind == Rejected {
			d.locate(o, root, path)
			d.rejected = append(d.rejected, o)
		}
		return
	case foreign:
		d.others++
		return
	}
	if language, at := d.template(root, o); language != "" {
		d.templates = append(d.templates, template{named(d.file.lineOf(at), d.in.shown), language})
		return
	}
	d.loader.settle(d.in, o)
	d.locate(o, root, path)
	d.repeated(in, o)
	d.decode(o, root, in)
}

// settle gives an object the namespace of its file where it names none.
func (l *loader) settle(in *input, o *Object) {
	if !l.opts.NamespaceScoped(o) {
		o.Namespace = ""
	} else if o.Namespace == "" {
		o.Namespace = intern(in.namespace)
	}
}

// other looks at a document that is no object: values of Istio's charts, files
// of other tools, or what an object lost its head of.
func (d *draft) other(root *yaml.Node, h header) {
	opts := d.loader.opts
	if root.Kind == yaml.MappingNode {
		if d.in.values {
			d.keepValues(root, "")
			return
		}
		if prefix, ok := valuesPrefix(root, opts); ok && isNull(h.apiVersion) && isNull(h.kind) {
			d.keepValues(root, prefix)
			return
		}
	}
	d.others++
	var message string
	switch {
	case root.Kind == yaml.SequenceNode && len(root.Content) > 0 && readHeader(root.Content[0], opts).isObject():
		d.others--
		d.problems = append(d.problems, Problem{Kind: Unreadable, Position: named(d.file.lineOf(root), d.in.shown),
			Message: "document is a list of objects, which kubectl refuses: left out", Help: "put --- between them, or make it a List with items"})
		return
	case root.Kind == yaml.MappingNode && len(root.Content) > 0:
		message = "document has no apiVersion and no kind: left out"
	case root.Kind == yaml.SequenceNode:
		message = "document is a list, not an object: left out"
	case isNull(root):
		return
	case root.Kind == yaml.ScalarNode:
		message = "document is text, not an object: left out"
	default:
		return
	}
	d.doubts = append(d.doubts, Problem{Kind: Unreadable, Position: named(d.file.lineOf(root), d.in.shown), Message: message,
		Help: "complete it, or delete it: kubectl refuses the file"})
}

// keepValues makes an object of Helm values.
func (d *draft) keepValues(root *yaml.Node, prefix string) {
	in, ok := d.check(root)
	if !ok {
		return
	}
	o := &Object{Kind: KindValues, Name: valuesName(d.in.shown)}
	d.locate(o, root, nil)
	mesh := hit{found: true, in: d.file, value: root}
	if h := d.file.find(parsePath(joinPath(prefix, "meshConfig"))); h.found {
		mesh = h
	}
	if at := d.placeholder(follow(mesh.value), o); at != nil && mesh.key != nil {
		d.templates = append(d.templates, template{named(d.file.lineOf(at), d.in.shown), goTemplate})
		return
	}
	d.repeated(in, o)
	d.decode(o, root, in)
}

// check makes sure that the document converts to JSON; otherwise there is no
// object, and ok is false.
func (d *draft) check(root *yaml.Node) (in *inspection, ok bool) {
	if in = d.inspected; root != d.file.root { // an item of a List
		in = inspect(root)
	}
	if !in.unusual {
		return in, true
	}
	c := converter{opts: d.loader.opts}
	_, err := c.appendJSON(nil, root)
	if err == nil {
		return in, true
	}
	at := d.file.root
	var invalid *valueError
	if errors.As(err, &invalid) {
		at = invalid.node
	}
	p := named(d.file.spanOf(at), d.in.shown)
	if p, ok := d.file.templateAt(at); ok {
		d.templates = append(d.templates, template{named(p, d.in.shown), goTemplate})
		return in, false
	}
	d.problems = append(d.problems, Problem{Kind: Unreadable, Position: p, Message: "document cannot be read: " + err.Error()})
	return in, false
}

// flawed reports a document that is no object, or one that is refused.
func (d *draft) flawed(o *Object, root *yaml.Node, f *flaw) {
	at := f.node
	if at == nil {
		at = root
	}
	p := d.file.lineOf(at)
	if at.Kind == yaml.ScalarNode {
		p = d.file.spanOf(at)
	}
	if p, ok := d.file.templateAt(at); ok {
		d.templates = append(d.templates, template{named(p, d.in.shown), goTemplate})
		return
	}
	if d.ytt {
		d.templates = append(d.templates, template{named(p, d.in.shown), ytt})
		return
	}
	if d.unfinished() || at.Kind == yaml.ScalarNode && d.toSubstitute(at) {
		return
	}
	problem := Problem{Kind: f.kind, Position: named(p, d.in.shown), Message: f.message, Help: f.help}
	if o != nil {
		problem.Object = o.String()
	}
	d.problems = append(d.problems, problem)
}

// unfinished reports whether a document that cannot be taken as it stands has
// values that are left open, and then counts it as a template.
func (d *draft) unfinished() bool {
	offset, ok := openValue(d.part.bytes)
	if ok {
		d.templates = append(d.templates, template{d.position(d.part, offset), openValues})
	}
	return ok
}

// toSubstitute does the same for a node that is to be replaced by envsubst.
func (d *draft) toSubstitute(n *yaml.Node) bool {
	ok := substitutePattern.MatchString(n.Value)
	if ok {
		d.templates = append(d.templates, template{named(d.file.spanOf(n), d.in.shown), envsubst})
	}
	return ok
}

// template tells whether an object is a template, and where that shows.
func (d *draft) template(root *yaml.Node, o *Object) (language string, at *yaml.Node) {
	switch {
	case d.ytt:
		return ytt, root
	case hasKey(root, "$patch"):
		return patchText, root
	case o.Kind == "Template" && (o.Group() == "template.openshift.io" || o.APIVersion == "v1"):
		return openshift, root
	}
	if at := d.placeholder(root, o); at != nil {
		return goTemplate, at
	}
	return "", nil
}

// hasKey reports whether a mapping has a key.
func hasKey(mapping *yaml.Node, key string) bool {
	for i := 0; mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return true
		}
	}
	return false
}

// locate remembers where an object stands.
func (d *draft) locate(o *Object, root *yaml.Node, path []int) {
	line, column := d.piece.line+root.Line-1, root.Column
	if root.Line == 1 {
		column += d.piece.column - 1
	}
	o.source = newSource(d.in.file, d.piece, d.hash)
	o.source.document, o.source.line, o.source.column = int32(d.document), int32(line), int32(column)
	if len(path) > 0 {
		kept := path // so that an empty one stays off the heap
		o.source.items = &kept
	}
}

// repeated reports keys that stand twice in a mapping. kubectl takes the last
// (sigs.k8s.io/yaml without strictness), kustomize and Flux refuse the document.
func (d *draft) repeated(in *inspection, o *Object) {
	if in.again == nil {
		return
	}
	at, first := named(d.file.spanOf(in.again), d.in.shown), d.file.spanOf(in.first)
	message := fmt.Sprintf("key %q stands twice in one mapping, in lines %d and %d: kubectl takes the last, other tools refuse the document",
		printable(in.again.Value), first.Line, at.Line)
	if in.more > 0 {
		message += fmt.Sprintf("; so do %d more", in.more)
	}
	d.problems = append(d.problems, Problem{Kind: Unreadable, Position: at, Object: o.String(), Message: message, Help: "keep one of them"})
}

// leftOut are the kinds of problems with which a [Decoder] says that there is no
// object: it must not take the place of one of the same name.
var leftOut = map[ProblemKind]bool{Rejected: true, Template: true, Unrendered: true}

// decode hands the document to the Decoder and keeps the object.
func (d *draft) decode(o *Object, root *yaml.Node, in *inspection) {
	refused := false
	if decode := d.loader.opts.Decode; decode != nil {
		t := &tree{root: root, text: d.part, opts: d.loader.opts, plain: !in.unusual && in.again == nil}
		var problems []Problem
		o.Value, problems = decode(o, &Document{tree: t, shown: d.in.shown})
		refused = slices.ContainsFunc(problems, func(p Problem) bool { return leftOut[p.Kind] })
		isRejection := func(p Problem) bool { return p.Kind == Rejected }
		if slices.ContainsFunc(problems, isRejection) && d.unfinished() {
			problems = slices.DeleteFunc(problems, isRejection)
		}
		d.problems = append(d.problems, problems...)
	}
	switch {
	case refused:
		d.rejected = append(d.rejected, o)
	case o.Kind == KindValues && o.APIVersion == "":
		d.values = append(d.values, o)
	default:
		d.objects = append(d.objects, o)
	}
}
