// Command agree holds the product's simulation against istiod's own
// configuration on random meshes:
//
//	agree -seeds 10000 -flows 100
//
// It prints every disagreement, how often each answer occurred, and speed, and
// exits with 1 where the two differ.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/egresslint/egresslint/conformance/agree"
	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/conformance/switches"
	"github.com/egresslint/egresslint/model/flow"
)

func main() {
	seeds := flag.Int("seeds", 100, "number of meshes")
	start := flag.Uint64("start", 1, "first seed")
	flows := flag.Int("flows", 100, "flows for each mesh")
	workers := flag.Int("workers", 4, "meshes at once")
	most := flag.Int("show", 20, "disagreements printed in full")
	reduce := flag.Int("reduce", 0, "disagreements of different kinds reduced to a small mesh and printed")
	save := flag.String("save", "", "directory to save reduced disagreements in, as testdata/mesh")
	variables := map[string]string{}
	flag.Func("switch", "environment `variable=value` of istiod; may be repeated", func(text string) error {
		name, value, _ := strings.Cut(text, "=")
		_, err := switches.Set(name, value)
		variables[name] = value
		return err
	})
	flag.Parse()
	if len(variables) > 0 {
		istiod = switches.Manifest(variables)
	}
	if !run(os.Stdout, *start, *seeds, *flows, *workers, *most, *reduce, *save) {
		os.Exit(1)
	}
}

// istiod is a manifest that each mesh has in addition.
var istiod []byte

type outcome struct {
	mesh   *generate.Case
	result *agree.Result
	err    error
}

func run(out io.Writer, start uint64, seeds, flows, workers, most, reduce int, save string) bool {
	began := time.Now()
	next := make(chan uint64)
	done := make(chan outcome)
	go func() {
		for i := range seeds {
			next <- start + uint64(i) //nolint:gosec // a count
		}
		close(next)
	}()
	var busy sync.WaitGroup
	for range workers {
		busy.Add(1)
		go func() {
			defer busy.Done()
			for seed := range next {
				c := generate.New(seed, flows)
				result, err := agree.Check(append(c.YAML(), istiod...), c.Flows)
				done <- outcome{c, result, err}
			}
		}()
	}
	go func() {
		busy.Wait()
		close(done)
	}()
	t := tally{most: most, reduce: reduce, save: save, answers: map[string]int{}, kinds: map[string]int{}, first: map[string]uint64{}}
	for o := range done {
		t.add(out, o)
	}
	t.print(out, time.Since(began))
	return t.disagreements == 0 && t.failures == 0
}

// objectName is a policy in a difference; kinds of differences leave it out.
var objectName = regexp.MustCompile(`[a-z-]+/ap-[a-z0-9]+(,[a-z-]+/ap-[a-z0-9]+)*`)

// rejections is the kind of meshes of which the two refuse different objects.
const rejections = "rejected objects"

// tally counts answers.
type tally struct {
	flows, disagreements, failures int
	rejected, productRejected      int
	answers, kinds                 map[string]int
	// first is a seed of each kind.
	first map[string]uint64
	// most are printed in full, reduce are reduced, and saved in save.
	most, reduce   int
	save           string
	judge, product time.Duration
	// coverage is of the product's answers: what the input lacks is unknown to
	// it alone.
	coverage agree.Coverage
}

func (t *tally) add(out io.Writer, o outcome) {
	seed := o.mesh.Seed
	if o.err != nil {
		t.failures++
		fmt.Fprintf(out, "seed %d: %v\n", seed, o.err)
		return
	}
	r := o.result
	t.judge += r.JudgeOpen + r.JudgeTrace
	t.product += r.ProductOpen + r.ProductTrace
	t.rejected += r.Rejected
	t.productRejected += r.ProductRejected
	if r.Rejected != r.ProductRejected {
		t.disagreements++
		t.kinds[rejections]++
		t.first[rejections] = seed
		fmt.Fprintf(out, "seed %d: judge rejects %d objects, product %d\n", seed, r.Rejected, r.ProductRejected)
	}
	for _, a := range r.Answers {
		t.flows++
		t.count(a.Judge)
		t.coverage.Add(a.Flow, a.Product)
		if len(a.Differences) == 0 {
			continue
		}
		t.disagreements++
		kind := objectName.ReplaceAllString(strings.Join(a.Differences, "; "), "…")
		t.kinds[kind]++
		if t.kinds[kind] == 1 {
			t.first[kind] = seed
		}
		if t.kinds[kind] == 1 && t.reduce > 0 {
			t.reduce--
			small := agree.Reduce(seed, o.mesh.Objects, a)
			fmt.Fprintf(out, "seed %d reduced: %s\n", seed, small)
			if t.save != "" {
				if err := small.Save(t.save); err != nil {
					fmt.Fprintln(out, err)
				}
			}
		}
		if t.disagreements <= t.most {
			fmt.Fprintf(out, "seed %d: %s\n  flow    %s\n  judge   %s\n  product %s\n", seed, strings.Join(a.Differences, "; "), text(a.Flow), text(a.Judge), text(a.Product))
		}
	}
}

func (t *tally) count(a *flow.Trace) {
	status := ""
	if a.HTTPStatus != 0 {
		status = fmt.Sprintf(" %d", a.HTTPStatus)
	}
	t.answers[fmt.Sprintf("%s %s %s%s", a.Outcome, a.Via, a.Reason, status)]++
}

func text(v any) string {
	js, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(js)
}

func (t *tally) print(out io.Writer, took time.Duration) {
	fmt.Fprintln(out, "\nanswers of the judge:")
	ranking(out, t.answers, func(answer string) string { return answer })
	fmt.Fprintln(out, "\nvalues, branches included:")
	t.coverage.Print(out)
	if len(t.kinds) > 0 {
		fmt.Fprintln(out, "\ndisagreements:")
		ranking(out, t.kinds, func(kind string) string { return fmt.Sprintf("seed %d: %s", t.first[kind], kind) })
	}
	fmt.Fprintf(out, "\n%d flows, %d disagreements, %d failures; %d objects rejected (product %d)\n", t.flows, t.disagreements, t.failures, t.rejected, t.productRejected)
	fmt.Fprintf(out, "%s: %.0f flows a second; judge %s, product %s\n", took.Round(time.Millisecond), float64(t.flows)/took.Seconds(), t.judge.Round(time.Millisecond), t.product.Round(time.Millisecond))
}

func ranking(out io.Writer, counts map[string]int, text func(key string) string) {
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool {
		if counts[keys[i]] != counts[keys[j]] {
			return counts[keys[i]] > counts[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for _, key := range keys {
		fmt.Fprintf(out, "%8d  %s\n", counts[key], text(key))
	}
}
