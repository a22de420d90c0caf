# What a change must pass is .ci/run; this file is for measuring, and for looking further.

.PHONY: bench ratios growth random

# Benchmarks in the form that benchstat reads (golang.org/x/perf/cmd/benchstat).
# BENCH_SIZES are the meshes for the matrix and the rules; L and L-unshared take long.
COUNT ?= 6
BENCH_SIZES ?= S,S-unshared,M
bench:
	go test ./internal/bench -run '^$$' -bench . -count $(COUNT) -timeout 0 -args -sizes $(BENCH_SIZES)

# What a run costs, as ratios that travel between machines (docs/performance.md).
# ISTIOCTL=path compares with istioctl analyze too.
SIZES ?= S,M,L
RATIOS = go run ./internal/ratios -egresslint bin/egresslint $(if $(ISTIOCTL),-istioctl $(ISTIOCTL)) $(if $(RULES),-rules $(RULES))
bin/egresslint: FORCE
	go build -o $@ ./cmd/egresslint
FORCE:

ratios: bin/egresslint
	$(RATIOS) -sizes $(SIZES)

growth: bin/egresslint
	$(RATIOS) -sizes '' -growth

# Randomised tests with other seeds than those of the gate, COUNT times.
random:
	EGRESSLINT_SEED=clock go test -count $(COUNT) -timeout 0 $$(grep -rl --include='*_test.go' testseed model report | xargs -n 1 dirname | sort -u | sed 's|^|./|')
	cd conformance && go test -count $(COUNT) -timeout 0 ./injection -args -seed 0
