package analyzers

import "slices"

// near reports whether one of two different names is likely a misspelling of the
// other: they are alike but for case and dashes, or one or two letters apart
// (one in short names).
func near(a, b string) bool {
	if a == b {
		return false
	}
	allowed := 2
	if min(len(a), len(b)) < 6 {
		allowed = 1
	}
	// Names of objects have at most 253 letters; the bound keeps hostile ones
	// from costing anything.
	return alike(a, b) || max(len(a), len(b)) <= 253 && distance(a, b) <= allowed
}

// nearest returns the only one of some names that is near a name, "" if none or
// several are, or if the name is among them.
func nearest(name string, names []string) string {
	found := ""
	for _, n := range names {
		switch {
		case n == name:
			return ""
		case !near(name, n) || n == found:
		case found != "":
			return ""
		default:
			found = n
		}
	}
	return found
}

// distance is how many letters have to be added, removed or changed, or
// neighbours swapped, to make one text of another.
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = slices.Min([]int{next[j] + 1, row[j+1] + 1, row[j] + cost})
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
