package reach

import "slices"

// The dimensions of requests, in the order of dimensions.
const (
	methodDimension = iota
	pathDimension
	hostDimension
	headerDimension // and whatever follows
)

// choice is a value of a dimension.
type choice struct {
	dimension int
	value
}

// whole gathers what one route or rule asks for: for each of its conditions the
// values that meet it.
type whole struct{ asked [][]choice }

// ask begins a condition, any of the values that follow meets it.
func (w *whole) ask() { w.asked = append(w.asked, nil) }

// choose adds a value to the last condition, if there is one.
func (w *whole) choose(dimension int, v value) {
	if n := len(w.asked); n > 0 {
		w.asked[n-1] = append(w.asked[n-1], choice{dimension, v})
	}
}

// requests returns the values of requests that meet all conditions, and forgets
// them. Each value occurs in one of the requests; not all combinations do, since
// the values of one condition differ in nothing else than that the rule names them.
func (w *whole) requests() [][]choice {
	var out [][]choice
	most := 1
	for _, values := range w.asked {
		most = max(most, len(values))
	}
	for i := range most {
		var request []choice
		for _, values := range w.asked {
			if len(values) > 0 {
				request = append(request, values[i%len(values)])
			}
		}
		if len(request) > 0 {
			out = append(out, request)
		}
	}
	w.asked = nil
	return out
}

// wholes returns what each route and each rule asks for, and each pair of the two;
// where a route and a rule name different values of one dimension, once the one
// counts and once the other. cut says that there are more than maxWholes.
func wholes(routes, rules [][]choice) (all [][]choice, cut bool) {
	var out [][]choice
	for _, request := range slices.Concat(routes, rules) {
		if len(request) > 1 {
			out = append(out, request)
		}
	}
	for _, route := range routes {
		for _, rule := range rules {
			out = append(out, slices.Concat(route, rule), slices.Concat(rule, route))
			if len(out) >= maxWholes {
				return out[:maxWholes], true
			}
		}
	}
	return out, false
}
