# What a change must pass is .ci/run; this file is for measuring.

.PHONY: bench ratios growth

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
