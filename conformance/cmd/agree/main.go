package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"time"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/conformance/judge"
)

func main() {
	n := flag.Int("seeds", 10, "")
	start := flag.Int("start", 1, "")
	nf := flag.Int("flows", 100, "")
	show := flag.Bool("v", false, "")
	flag.Parse()
	dist := map[string]int{}
	rej := map[string]int{}
	var gen, open, trace time.Duration
	for i := *start; i < *start+*n; i++ {
		func() {
			defer func() {
				if r := recover(); r != nil {
					fmt.Println("PANIC seed", i, r, string(debug.Stack()))
				}
			}()
			t := time.Now()
			c := generate.New(uint64(i), *nf)
			y := c.YAML()
			gen += time.Since(t)
			t = time.Now()
			m, err := judge.Parse(y)
			if err != nil {
				fmt.Println("seed", i, err)
				return
			}
			for _, r := range m.Rejected {
				rej[r.Error()]++
				if *show { fmt.Println(i, r) }
			}
			mesh, err := judge.Open(m)
			if err != nil {
				fmt.Println("seed", i, err)
				return
			}
			defer mesh.Close()
			open += time.Since(t)
			t = time.Now()
			for _, f := range c.Flows {
				a := mesh.Trace(f)
				key := fmt.Sprintf("%s %s %s %d", a.Outcome, a.Via, a.Reason, a.HTTPStatus)
				if a.Outcome == "unknown" { key += " " + a.Detail }
				dist[key]++
				dist["branches"] += len(a.Branches)
			}
			trace += time.Since(t)
		}()
	}
	var keys []string
	for k := range dist { keys = append(keys, k) }
	sort.Slice(keys, func(i, j int) bool { return dist[keys[i]] > dist[keys[j]] })
	for _, k := range keys { fmt.Println(dist[k], k) }
	fmt.Println("rejected", len(rej), "gen", gen, "open", open, "trace", trace)
	os.Exit(0)
}
