// Package testseed gives randomised tests their seed.
package testseed

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// variable is the environment variable that says which seed.
const variable = "EGRESSLINT_SEED"

// New returns the seed of a randomised test, and prints it: that of EGRESSLINT_SEED,
// another each time where that is "clock", and always the same where it is not set. So
// the same code passes the gate or fails it, whenever it is run; what only other seeds
// find is looked for with `make random`.
func New(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	switch text := os.Getenv(variable); text {
	case "":
	case "clock":
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number does
	default:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v: give a number or clock", variable, err)
		}
		seed = n
	}
	t.Logf("seed %d (%s=%d repeats it)", seed, variable, seed)
	return seed
}
