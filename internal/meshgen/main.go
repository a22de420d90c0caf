// Command meshgen writes the manifests of a large mesh into a directory.
//
//	go run ./internal/meshgen -size L -out /tmp/mesh
//	go run ./internal/meshgen -workloads 1250 -hosts 625 -shared=false -out /tmp/mesh
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/egresslint/egresslint/internal/largemesh"
)

func main() {
	size := flag.String("size", "S", "S, M or L: about 1,000, 10,000 or 60,000 documents")
	workloads := flag.Int("workloads", 0, "how many workloads, in place of those of -size")
	hosts := flag.Int("hosts", 0, "how many external hosts, in place of those of -size")
	shared := flag.Bool("shared", true, "workloads of a namespace share Sidecars and policies; false: no two workloads share anything")
	seed := flag.Uint64("seed", 1, "for the random choices; equal flags give equal files")
	out := flag.String("out", "", "directory to write to, new or empty")
	flag.Parse()
	opts, known := largemesh.Sizes[*size]
	if !known || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if *workloads > 0 {
		opts.Workloads = *workloads
	}
	if *hosts > 0 {
		opts.Hosts = *hosts
	}
	opts.Seed, opts.Unshared = *seed, !*shared
	summary, err := largemesh.Write(*out, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "meshgen:", err)
		os.Exit(1)
	}
	fmt.Printf("%d workloads, %d hosts: %d documents in %d files, %d bytes\n", opts.Workloads, opts.Hosts, summary.Documents, summary.Files, summary.Bytes)
}
