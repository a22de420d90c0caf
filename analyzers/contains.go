package analyzers

import "slices"

// contains is slices.Contains, which is not inlined here: it is called in hundreds of places.
//
//go:noinline
func contains(list []string, s string) bool { return slices.Contains(list, s) }
