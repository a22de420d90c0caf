// Command egresslint decides offline what a directory of Kubernetes and Istio
// manifests lets out of the mesh, and reports gaps and ways around the control.
package main

import "os"

func main() {
	c := Command{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, garbage: collectSparsely()}
	os.Exit(c.Main(os.Args[1:]))
}
