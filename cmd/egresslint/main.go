// Command egresslint decides offline what a directory of Kubernetes and Istio
// manifests lets out of the mesh, and reports gaps and ways around the control.
package main

import "os"

func main() {
	collectSparsely()
	c := Command{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(c.Main(os.Args[1:]))
}
