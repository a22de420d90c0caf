// Package manifest reads Kubernetes and Istio manifests: it finds files, splits
// documents, parses YAML and JSON as Kubernetes does, and remembers for every
// object and every field of it where it stands. It knows files and objects and
// nothing of traffic.
//
// Input is hostile: nothing is executed, nothing outside the given paths is
// read, memory and time are bounded, and what cannot be read becomes a
// [Problem] instead of hiding the rest.
package manifest

import (
	"fmt"
	"strings"
	"time"
)

// Position is a place in an input file. Line and Column count from 1, columns
// in Unicode code points; EndColumn is exclusive and lies on the same line, 0
// when the extent is not known. The zero Position means that there is no such
// place, as for an object that a command line flag implies.
type Position struct {
	File      string
	Line      int
	Column    int
	EndColumn int
}

// IsZero reports whether p names no place.
func (p Position) IsZero() bool { return p.File == "" && p.Line == 0 }

// String gives file:line:column, or the file alone where the line is unknown.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Compare orders positions by file, line and column.
func (p Position) Compare(q Position) int {
	if c := strings.Compare(p.File, q.File); c != 0 {
		return c
	}
	if p.Line != q.Line {
		return p.Line - q.Line
	}
	return p.Column - q.Column
}

// Object is one Kubernetes object of the input, or a Helm values file (Kind
// [KindValues]), or one that is implied by an installation (Implied).
//
// A field path is written as in JSONPath without the leading "$.":
// "spec.servers[0].hosts[1]", and with quotes for keys that contain a dot or a
// slash: "metadata.labels['istio.io/rev']".
type Object struct {
	APIVersion string
	Kind       string
	Namespace  string // after defaulting; empty for kinds without namespace
	// Name is metadata.generateName where there is no name, and empty where the
	// kind needs neither (IstioOperator).
	Name string

	Labels      map[string]string
	Annotations map[string]string
	// Created is metadata.creationTimestamp, zero where the manifest has none.
	Created time.Time

	// Value is what the Decoder made of the document, nil if nothing.
	Value any

	// Implied says, where it is not empty, why this object exists although no
	// document holds it ("profile=demo installs it"). Its positions are those
	// of Cause, if any.
	Implied string
	Cause   *Object
	// CauseField is the field of Cause because of which the object is implied.
	CauseField string

	// source is nil for implied objects.
	source *source
	// generated says that Name is metadata.generateName, so that two objects
	// with it are not the same.
	generated bool
}

// KindValues is the Kind of a Helm values file that holds mesh configuration.
const KindValues = "HelmValues"

// Group returns the API group, "" for the core group.
func (o *Object) Group() string {
	group, _, found := strings.Cut(o.APIVersion, "/")
	if !found {
		return ""
	}
	return group
}

// ID returns "namespace/name", or the name alone for kinds without namespace.
// It is meant for people: an object without name has "<unnamed>".
//
//go:noinline
func (o *Object) ID() string {
	name := o.Name
	if name == "" {
		name = "<unnamed>"
	}
	if o.Namespace == "" {
		return name
	}
	return o.Namespace + "/" + name
}

// String returns "Kind namespace/name".
//
//go:noinline
func (o *Object) String() string { return o.Kind + " " + o.ID() }

// Problem is something in the input that could not be read as it stands.
type Problem struct {
	Kind     ProblemKind
	Position Position
	// Other is where a Duplicate, Variant or Conflict stands again, zero for other kinds.
	Other Position
	// Object names the object concerned as "Kind namespace/name", "" if none.
	Object string
	// Message says what is wrong: lower case, no final period.
	Message string
	// Help says what to do about it, "" if the message says it.
	Help string
}

// ProblemKind sorts problems; each kind is reported by one rule.
type ProblemKind int

const (
	// Unreadable input does not parse (EGR010). The result is partial.
	Unreadable ProblemKind = iota
	// Rejected objects are refused by Istio's validation (EGR011). The result
	// is partial.
	Rejected
	// UnknownField is a field that its kind does not have (EGR012).
	UnknownField
	// Duplicate is the same object twice; the last counts (EGR013).
	Duplicate
	// Conflict is the same object twice with different content (EGR013).
	Conflict
	// Variant is the same object twice with content that differs in nothing that
	// counts (EGR013).
	Variant
	// Template is a document that is a template, not an object (EGR014). The
	// result is partial.
	Template
	// Unrendered is a Kustomize patch or a chart's template that is left out
	// (EGR014). The result is partial.
	Unrendered
)

// Partial reports whether a problem of this kind means that some of the input
// was not analysed.
func (k ProblemKind) Partial() bool {
	switch k {
	case Unreadable, Rejected, Template, Unrendered:
		return true
	default:
		return false
	}
}
