// Points holds the matrix of a mesh against the simulation of single requests:
// it takes tuples of workload, host and port at random, asks both, and prints how
// many differ.
//
//	go run ./internal/points -tuples 1000000 DIR
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// maxShown bounds the differences that are printed.
const maxShown = 10

func main() {
	tuples := flag.Int("tuples", 1000, "how many tuples to take")
	seed := flag.Uint64("seed", 1, "for the random choice")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "give one directory of manifests")
		os.Exit(2)
	}
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: flag.Arg(0)}}}, model.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	differ := compare(mesh, *tuples, rand.New(rand.NewPCG(*seed, 0))) //nolint:gosec // repeatable on purpose
	fmt.Printf("%d tuples of %s, seed %d: %d differ\n", *tuples, flag.Arg(0), *seed, differ)
	if differ > 0 {
		os.Exit(1)
	}
}

func compare(mesh *model.Mesh, tuples int, random *rand.Rand) int {
	r := reach.New(traffic.New(mesh))
	clients, universe := r.Clients(), r.Universe()
	differ := 0
	if len(clients) == 0 || len(universe) == 0 {
		return differ
	}
	for range tuples {
		w, d := clients[random.IntN(len(clients))], universe[random.IntN(len(universe))]
		if reach.Same(r.Answers(w, d), r.Alone(w, d)) {
			continue
		}
		if differ++; differ <= maxShown {
			fmt.Printf("%s to %s:%d\n", reach.From(w), d.Host, d.Port)
		}
	}
	return differ
}
