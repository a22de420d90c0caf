package manifest

// Set is what was read. Everything is in the order of the input: paths as they
// were given, files of a directory by name, documents as they stand.
type Set struct {
	// Objects holds each object once: of several with the same group, kind,
	// namespace and name it has the last.
	Objects []*Object
	// Values are Helm values files with a mesh configuration ([KindValues]),
	// and the documents of Options.MeshConfig that are no objects.
	Values []*Object
	// Rejected are the objects that an API server or, by the word of the
	// Decoder, Istio's validation refuses, also as templates and patches that are no
	// objects yet. They exist in no cluster.
	Rejected []*Object
	// Problems are sorted by position.
	Problems []Problem
	// Directives ask for findings to be left out; they are sorted by position.
	Directives []Directive

	Files int   // that were read
	Bytes int64 // that they hold
	// Documents counts the documents that are not empty, items of Lists each;
	// OtherDocuments those of them that are neither objects nor Values nor the
	// subject of a Problem: other tools' files.
	Documents, OtherDocuments int

	store *store
}
