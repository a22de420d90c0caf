package manifest

import "io"

// Path is one argument of a command line: a file, a directory, or "-" for
// standard input.
type Path struct {
	Name string
	// Namespace is given to objects without one; "" means Options.Namespace.
	Namespace string
}

// Options say what to load. The zero value of a limit means its default.
type Options struct {
	// Paths are read in this order; where the same object comes twice, the
	// last counts. A file that several paths reach is read once for each
	// namespace.
	Paths []Path
	// Namespace is given to objects without one, "default" if empty.
	Namespace string
	// Stdin is read where a path is "-".
	Stdin io.Reader
	// MeshConfig are files whose documents are Helm values or a mesh
	// configuration, whatever they look like; documents that are complete
	// objects are taken as such.
	MeshConfig []string
	// Decode may be nil.
	Decode Decoder
	// Essence reduces the content of an object, untyped, to what counts; it may
	// change the content. Definitions that differ in nothing else are [Variant].
	// Nil means that everything counts.
	Essence func(o *Object, content map[string]any) any
	// Unread may be nil. It tells an object of which Decode would make nothing
	// and have nothing to say, whatever stands below its other keys than metadata;
	// below that there are name, namespace, labels and annotations alone. It does
	// to the object what Decode would do, and it is asked before that with the
	// type alone. text is the document. Where the document is plain, it is not
	// parsed then. Unread is called from several goroutines at once.
	Unread func(o *Object, text []byte) bool
	// Outline may be nil. It says of the documents of a type of which parts Decode
	// asks for nothing; nil if all of it counts. Decode must make the same of the
	// rest alone, and where it has problems it is called once more with the whole
	// document. It is called from several goroutines at once.
	Outline func(apiVersion, kind string) *Outline
	// Rest may be nil. It is asked between two pieces of work, from the goroutine of
	// Load. What it returns, unless that is nil, is called as soon as nothing else of
	// Load is going on: that is the time to collect garbage, of which there is little
	// else in memory, and nothing is made meanwhile that would have to be kept.
	Rest func(Progress) func()
	// NamespaceScoped tells whether a kind lives in a namespace; objects of
	// kinds that do not keep Namespace "". Nil means [NamespaceScoped].
	NamespaceScoped func(o *Object) bool

	// MaxFileBytes bounds one file and standard input (256 MiB),
	// MaxTotalBytes all of them (512 MiB).
	MaxFileBytes, MaxTotalBytes int64
	// MaxDocumentBytes bounds what is parsed in one piece (8 MiB, at most 1 GiB): a
	// document, or an item of a List. A tree takes 25 times and more of its text.
	MaxDocumentBytes int
	// MaxExpansion bounds the bytes that aliases and merge keys may add to a
	// document (16 MiB).
	MaxExpansion int
	// MaxFiles bounds the files (200,000), MaxDocuments the documents
	// (1,000,000), MaxDepth the nesting of a document (1,000).
	MaxFiles, MaxDocuments, MaxDepth int
}

// Progress is how much of the input is read: Files of Of, with Bytes.
type Progress struct {
	Files, Of int
	Bytes     int64
}

// Decoder turns a parsed document into a typed value while the document is at
// hand; it is called from several goroutines at once. What it returns is kept
// as Object.Value; the document is dropped and must not be kept. An object for
// which it returns a Problem of kind [Rejected], [Template] or [Unrendered] goes
// to Set.Rejected instead of Set.Objects.
type Decoder func(o *Object, doc *Document) (any, []Problem)

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.NamespaceScoped == nil {
		o.NamespaceScoped = NamespaceScoped
	}
	orDefault(&o.MaxFileBytes, 256<<20)
	orDefault(&o.MaxTotalBytes, 512<<20)
	orDefault(&o.MaxDocumentBytes, 8<<20)
	o.MaxDocumentBytes = min(o.MaxDocumentBytes, 1<<30)
	orDefault(&o.MaxExpansion, 16<<20)
	orDefault(&o.MaxFiles, 200_000)
	orDefault(&o.MaxDocuments, 1_000_000)
	orDefault(&o.MaxDepth, 1_000)
	return o
}

// orDefault sets a limit that was not given.
func orDefault[N int | int64](limit *N, standard N) {
	if *limit <= 0 {
		*limit = standard
	}
}
