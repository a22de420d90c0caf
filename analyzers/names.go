package analyzers

import (
	"slices"
	"strings"
)

// near reports whether one of two different names is likely a misspelling of the
// other: they are alike but for case and dashes, or a word of them is a letter or two
// away. Numbers and short words tell names apart on purpose ("team-a", "eu", "v2"),
// and so do ingress and egress.
func near(a, b string) bool {
	if a == b {
		return false
	}
	if alike(a, b) {
		return true
	}
	split := func(r rune) bool { return strings.ContainsRune("-_./", r) }
	x, y := strings.FieldsFunc(strings.ToLower(a), split), strings.FieldsFunc(strings.ToLower(b), split)
	if len(x) != len(y) {
		return false
	}
	changed := 0
	for i := range x {
		if x[i] == y[i] {
			continue
		}
		if changed++; changed > 1 || !misspelt(x[i], y[i]) {
			return false
		}
	}
	return true
}

// misspelt reports whether two different words are a letter apart, or two in long ones.
func misspelt(a, b string) bool {
	letters := func(s string) string { return strings.Trim(s, "0123456789") }
	short, long := min(len(a), len(b)), max(len(a), len(b))
	// Names of objects have at most 253 letters; the bound keeps hostile ones from
	// costing anything.
	if short < 4 || long > 253 || letters(a) == letters(b) || strings.Contains(a, "ingress") != strings.Contains(b, "ingress") && strings.Contains(a+b, "egress") {
		return false
	}
	allowed := 1
	if short >= 6 {
		allowed = 2
	}
	return distance(a, b) <= allowed
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
