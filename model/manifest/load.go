package manifest

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Load reads what the options name. It fails only where there is nothing to
// work on: a path that does not exist, standard input that cannot be read, no
// manifest at all, or ctx that is done. Everything else that goes wrong is a
// Problem of the Set, and the rest is read.
//
// Nothing outside of the given paths is read, whatever links lead there.
func Load(ctx context.Context, options Options) (*Set, error) {
	opts := options.withDefaults()
	found, err := discover(&opts)
	if err != nil {
		return nil, err
	}
	l := &loader{
		opts: &opts, found: found,
		store: &store{opts: &opts, seed: maphash.MakeSeed(), lines: map[string]lines{}, byName: map[string]*file{}},
		set:   &Set{Problems: found.problems},
	}
	l.set.store = l.store
	for _, in := range found.inputs {
		l.store.byName[in.shown] = in.file
		in.store = l.store
	}
	l.charts()
	l.kustomize()
	l.run(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.assemble()
	if s := l.set; len(s.Objects)+len(s.Values)+len(s.Rejected)+len(s.Problems) == 0 {
		return nil, l.nothing()
	}
	return l.set, nil
}

// nothing says that no manifest was found.
func (l *loader) nothing() error {
	var names []string
	for _, p := range l.opts.Paths {
		names = append(names, printable(p.Name))
	}
	where := strings.Join(names, ", ")
	if l.set.Files == 0 {
		return fmt.Errorf("no manifest in %s: there is no .yaml, .yml or .json file", where)
	}
	return fmt.Errorf("no manifest in %s: %s, none of them with a Kubernetes object", where, plural(l.set.Files, "file"))
}

// loader is one run of Load.
type loader struct {
	opts  *Options
	found *discovery
	store *store
	set   *Set

	kustomizations []*kustomization
	unrendered     []Problem // of charts
	batches        []*batch
}

// batch is work for one worker: consecutive tasks, and what became of them.
type batch struct {
	*chunk
	runs  []run
	bytes int
}

// chunk is what a batch needs until it is done; then it serves another one.
type chunk struct {
	tasks []task
	texts []byte // of small files
}

// room returns a part of the chunk for a text, or other memory if it is large.
func (c *chunk) room(size int) []byte {
	if c.texts == nil {
		c.texts = make([]byte, 0, batchBytes+smallFile)
	}
	n := len(c.texts)
	if size > smallFile || n+size > cap(c.texts) {
		return make([]byte, size)
	}
	c.texts = c.texts[:n+size]
	return c.texts[n : n+size : n+size]
}

// run is what became of consecutive tasks of one input, and of one List if they
// are its items.
type run struct {
	in   *input
	list *list
	result
}

// do interprets the tasks.
func (b *batch) do(ctx context.Context, l *loader, lines *skimmer) {
	var inOneGo *stream
	var failed *input
	streams := 0
	lines.sieved.reset()
	for i := range b.tasks {
		l.look(&b.tasks[i], lines)
	}
	for i := range b.tasks {
		if ctx.Err() != nil {
			break
		}
		t := &b.tasks[i]
		if t.skimmed == nil && t.inOneGo {
			if inOneGo == nil && streams < maxStreams && t.in != failed {
				streams++
				inOneGo = newStream(b.tasks[i:], l.opts)
			}
			if inOneGo != nil {
				root, ok := inOneGo.next(t)
				t.root = root
				if !ok {
					inOneGo, failed = nil, t.in // until the next file
				}
			}
		} else if t.skimmed == nil {
			inOneGo = nil
		}
		if n := len(b.runs); n == 0 || b.runs[n-1].in != t.in || b.runs[n-1].list != t.list {
			b.runs = append(b.runs, run{in: t.in, list: t.list})
		}
		l.interpret(t, &b.runs[len(b.runs)-1].result)
	}
}

// maxStreams is how often a batch begins again to parse in one go: where that
// fails for one file after the other, it does not pay.
const maxStreams = 8

// batchBytes is how much text a worker gets at once. Files of more than smallFile
// have memory of their own, and may be the work of several workers.
const batchBytes, smallFile = 128 << 10, 64 << 10

// run reads the files in order and parses them on all processors.
func (l *loader) run(ctx context.Context) {
	work, free := make(chan *batch, 4), make(chan *chunk, 8)
	var wait, undone sync.WaitGroup
	for range max(runtime.GOMAXPROCS(0), 1) {
		wait.Go(func() {
			lines := &skimmer{}
			for b := range work {
				b.do(ctx, l, lines)
				c := b.chunk
				b.chunk = nil // and with it the texts: positions read the files again
				clear(c.tasks)
				c.tasks, c.texts = c.tasks[:0], c.texts[:0]
				select {
				case free <- c:
				default:
				}
				undone.Done()
			}
		})
	}
	fresh := func() *batch {
		select {
		case c := <-free:
			return &batch{chunk: c}
		default:
			return &batch{chunk: &chunk{}}
		}
	}
	current := fresh()
	send := func() {
		l.batches = append(l.batches, current)
		undone.Add(1)
		work <- current
		current = fresh()
		if l.opts.Rest != nil {
			if rest := l.opts.Rest(Progress{l.set.Files, len(l.found.inputs), l.set.Bytes}); rest != nil {
				undone.Wait()
				rest()
			}
		}
	}
	documents := 0
	var dirs directories
	defer dirs.close()
	for _, in := range l.found.inputs {
		if in.omitted {
			continue
		}
		text, err := in.readInto(l.opts.MaxFileBytes, func() (*os.File, error) { return dirs.open(in.file) }, current.room)
		if err != nil {
			message, help := unreadable(err, l.opts.MaxFileBytes)
			l.set.Problems = append(l.set.Problems, Problem{Kind: Unreadable, Position: Position{File: in.shown}, Message: message, Help: help})
			continue
		}
		add := func(t task) {
			current.tasks = append(current.tasks, t)
			if current.bytes += t.piece.end - t.piece.off; current.bytes >= batchBytes && len(text) > smallFile {
				send()
			}
		}
		if ctx.Err() != nil || !l.split(in, text, &documents, add) {
			break
		}
		if max(current.bytes, len(current.texts)) >= batchBytes {
			send()
		}
	}
	send()
	close(work)
	wait.Wait()
}

// split cuts a file into tasks. It returns false when a limit of the whole is
// reached.
func (l *loader) split(in *input, text []byte, documents *int, add func(task)) bool {
	if l.set.Bytes += int64(len(text)); l.set.Bytes > l.opts.MaxTotalBytes {
		l.set.Bytes -= int64(len(text))
		l.stop(in, fmt.Sprintf("the files hold more than %d MiB", l.opts.MaxTotalBytes>>20))
		return false
	}
	l.set.Files++
	first := bytes.TrimLeft(text, " \t\r\n")
	var docs []fragment
	isJSON := false
	if len(first) > 0 && first[0] == '{' {
		docs, isJSON = splitJSON(text)
	}
	if !isJSON {
		docs = splitDocuments(text)
	}
	if !isJSON {
		l.set.Directives = append(l.set.Directives, directives(text, in.shown)...)
	}
	ytt := usesYtt(text)
	oneGo := !isJSON && inOneGo(text)
	for _, doc := range docs {
		oneGo = oneGo && doc.ignored == nil && !doc.excerpt
	}
	for _, doc := range docs {
		pieces, of := []fragment{doc}, (*list)(nil)
		if items, whole := l.splitItems(text, doc); whole != nil && doc.ignored == nil && !doc.excerpt {
			pieces, of = items, whole
			of.ytt = ytt
		}
		if *documents += len(pieces); *documents > l.opts.MaxDocuments {
			l.stop(in, fmt.Sprintf("there are more than %d documents", l.opts.MaxDocuments))
			return false
		}
		for _, piece := range pieces {
			add(task{in: in, text: text, piece: piece, ytt: ytt, list: of, inOneGo: oneGo && of == nil})
		}
	}
	return true
}

// stop reports that a limit is reached in a file.
func (l *loader) stop(in *input, message string) {
	l.set.Problems = append(l.set.Problems, Problem{Kind: Unreadable, Position: Position{File: in.shown},
		Message: message + ": this file and the following are left out", Help: "give the directories of one mesh only"})
}

// splitItems splits a List into its items, if that can be done without parsing
// it as a whole.
func (l *loader) splitItems(text []byte, doc fragment) ([]fragment, *list) {
	var head []byte
	var items []fragment
	var ok bool
	if doc.json {
		head, items, ok = splitJSONList(text, doc)
	} else {
		head, items, ok = splitList(text, doc)
	}
	if !ok || len(head) > l.opts.MaxDocumentBytes {
		return nil, nil
	}
	roots, _, err := fragment{end: len(head), dash: -1, line: 1, column: 1, json: doc.json}.parse(head, l.opts)
	if err != nil || len(roots) != 1 {
		return nil, nil
	}
	h := readHeader(roots[0], l.opts)
	if h.kind == nil || !strings.HasSuffix(h.kind.Value, "List") {
		return nil, nil
	}
	if in := inspect(roots[0]); in.again != nil || in.unusual {
		return nil, nil
	}
	return items, &list{whole: doc, types: h.itemType()}
}

// assemble puts the results together in the order of the input.
func (l *loader) assemble() {
	whole := map[*list]bool{}
	s, objects := l.set, 0
	holds := map[*file]bool{} // files with objects
	for _, b := range l.batches {
		for i := range b.runs {
			r := &b.runs[i]
			if r.list != nil && r.list.broken.Load() {
				if whole[r.list] {
					*r = run{in: r.in}
					continue
				}
				whole[r.list] = true
				*r = l.again(*r)
			}
			objects += len(r.objects)
			holds[r.in.file] = holds[r.in.file] || len(r.objects)+len(r.rejected) > 0
		}
	}
	s.Objects = make([]*Object, 0, objects)
	var templates []template
	for _, b := range l.batches {
		for i := range b.runs {
			r := &b.runs[i]
			s.Objects = append(s.Objects, r.objects...)
			for _, v := range r.values {
				if !slices.ContainsFunc(s.Values, v.sameDocument) { // read for several namespaces
					s.Values = append(s.Values, v)
				}
			}
			s.Rejected = append(s.Rejected, r.rejected...)
			s.Problems = append(s.Problems, r.problems...)
			s.Documents += r.documents
			s.OtherDocuments += r.others
			if holds[r.in.file] {
				s.Problems = append(s.Problems, r.doubts...)
				s.OtherDocuments -= len(r.doubts)
			}
			templates = append(templates, r.templates...)
		}
	}
	l.batches = nil
	l.unify()
	l.conclude(templates)
}

// again parses a List as a whole of which an item did not parse: perhaps it was
// cut in the wrong place.
func (l *loader) again(r run) run {
	t := task{in: r.in, piece: r.list.whole, ytt: r.list.ytt}
	again := run{in: r.in}
	text, err := t.in.read(l.opts.MaxFileBytes)
	if err != nil || len(text) < t.piece.end {
		again.problems = []Problem{{Kind: Unreadable, Position: t.start(), Message: "the file changed while it was read", Help: "run again"}}
		return again
	}
	t.text = text
	l.interpret(&t, &again.result)
	return again
}

// conclude adds the problems that are not those of one document, and puts all
// in order.
func (l *loader) conclude(templates []template) {
	s := l.set
	s.Problems = append(s.Problems, templateProblems(templates)...)
	s.Problems = append(s.Problems, l.unrendered...)
	holdObjects := map[string]bool{}
	if len(l.kustomizations) > 0 {
		for _, o := range slices.Concat(s.Objects, s.Rejected) {
			holdObjects[o.source.file.path] = true
		}
	}
	for _, k := range l.kustomizations {
		if p, differs := k.problem(holdObjects, l.found.inputs); differs {
			s.Problems = append(s.Problems, p)
		}
	}
	for i := range s.Problems {
		p := &s.Problems[i]
		p.Object, p.Message, p.Help = printable(p.Object), printable(p.Message), printable(p.Help)
	}
	s.direct()
	sort.SliceStable(s.Problems, func(i, j int) bool { return s.Problems[i].Position.Compare(s.Problems[j].Position) < 0 })
	s.Problems = slices.Compact(s.Problems) // of a file that was read for several namespaces
}
