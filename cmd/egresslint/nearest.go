package main

import "strings"

// nearest returns the word that a mistyped one is most likely meant to be, ""
// if none is near.
func nearest(typed string, known []string) string {
	best, distance := "", max(1, min(3, len(typed)/3))+1
	for _, word := range known {
		if d := slips(strings.ToLower(typed), strings.ToLower(word), distance); d < distance {
			best, distance = word, d
		}
	}
	return best
}

// slips counts the insertions, deletions, replacements and swaps of
// neighbouring bytes that turn a into b, or returns limit if there are as many
// or more.
func slips(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	var before []int // the row before last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			d := last[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row[j+1] = d
			least = min(least, d)
		}
		if least >= limit {
			return limit
		}
		before, last = last, row
	}
	return min(last[len(b)], limit)
}
