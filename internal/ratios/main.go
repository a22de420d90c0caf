// Command ratios prints what egresslint costs, as ratios that travel between
// machines: against decoding the same bytes into YAML nodes, one processor
// against two, small meshes against large ones, and against istioctl analyze.
// docs/performance.md says what the lines mean.
//
//	go run ./internal/ratios -egresslint bin/egresslint [-istioctl PATH] [-sizes S,M,L] [-growth] [-rules RULES]
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/egresslint/egresslint/internal/largemesh"
)

func main() {
	binary := flag.String("egresslint", "", "the egresslint to measure")
	istioctl := flag.String("istioctl", "", "an istioctl to compare with")
	sizes := flag.String("sizes", "S,M,L", "sizes of meshes to measure")
	rules := flag.String("rules", "", "run these rules only (as --enable takes them); EGR010 alone measures loading")
	growth := flag.Bool("growth", false, "measure meshes of 1,250 to 20,000 workloads too")
	runs := flag.Int("runs", 3, "runs of each; the one with the least CPU counts")
	nodes := flag.String("nodes", "", "decode a directory into YAML nodes and end (what the other figures are compared with)")
	flag.Parse()
	if *nodes != "" {
		exitOn(decodeNodes(*nodes))
		return
	}
	if *binary == "" {
		flag.Usage()
		os.Exit(2)
	}
	path, err := filepath.Abs(*binary)
	exitOn(err)
	m := &measurement{binary: path, istioctl: *istioctl, runs: *runs, lint: []string{"lint"}}
	if *rules != "" {
		m.lint = append(m.lint, "--enable", *rules)
	}
	m.self, err = os.Executable()
	exitOn(err)
	m.dir, err = os.MkdirTemp("", "ratios")
	exitOn(err)
	for _, size := range strings.Split(*sizes, ",") {
		if opts, known := largemesh.Sizes[size]; known && err == nil {
			err = m.compare(size, opts)
		}
	}
	if *growth && err == nil {
		err = m.growth()
	}
	exitOn(errors.Join(err, os.RemoveAll(m.dir)))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// decodeNodes decodes every document of a directory and drops it.
func decodeNodes(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		loader, err := yaml.NewLoader(bytes.NewReader(text))
		for err == nil {
			var doc yaml.Node
			err = loader.Load(&doc)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
}

// measurement is one run of the program.
type measurement struct {
	self, binary, istioctl, dir string
	runs                        int
	lint                        []string // arguments before the directory
}

// cost is what a process took.
type cost struct {
	cpu, wall time.Duration
	memory    int64 // bytes, at the peak
}

// run runs a command on so many processors (0: all) and returns the least that
// it took. The exit codes of findings are no errors.
func (m *measurement) run(processors int, name string, args ...string) (cost, error) {
	var best cost
	for i := range m.runs {
		cmd := exec.Command(name, args...)
		cmd.Env = os.Environ()
		if processors > 0 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", processors))
		}
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		start := time.Now()
		err := cmd.Run()
		wall := time.Since(start)
		if state := cmd.ProcessState; state == nil || !slices.Contains([]int{0, 1, 3, 79}, state.ExitCode()) {
			return best, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, complaints.String())
		}
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return best, errors.New("this system does not tell what a process took")
		}
		c := cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall, usage.Maxrss << 10}
		if i == 0 || c.cpu < best.cpu {
			best.cpu = c.cpu
		}
		if i == 0 || c.wall < best.wall {
			best.wall = c.wall
		}
		best.memory = max(best.memory, c.memory)
	}
	return best, nil
}

// compare measures one mesh.
func (m *measurement) compare(size string, opts largemesh.Options) error {
	dir := filepath.Join(m.dir, size)
	summary, err := largemesh.Write(dir, opts)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d documents, %.1f MB, %d workloads, %d hosts\n", size, summary.Documents, float64(summary.Bytes)/1e6, opts.Workloads, opts.Hosts)
	nodes, err := m.run(1, m.self, "-nodes", dir)
	if err != nil {
		return err
	}
	one, err := m.run(1, m.binary, append(slices.Clone(m.lint), dir)...)
	if err != nil {
		return err
	}
	two, err := m.run(2, m.binary, append(slices.Clone(m.lint), dir)...)
	if err != nil {
		return err
	}
	fmt.Printf("  YAML nodes, 1 processor    %6.2f s CPU\n", nodes.cpu.Seconds())
	fmt.Printf("  lint, 1 processor          %6.2f s CPU  %6.2f s wall  %5.0f MiB\n", one.cpu.Seconds(), one.wall.Seconds(), mib(one.memory))
	fmt.Printf("  lint, 2 processors         %6.2f s CPU  %6.2f s wall  %5.0f MiB\n", two.cpu.Seconds(), two.wall.Seconds(), mib(two.memory))
	fmt.Printf("  CPU of lint / of nodes     %6.2f (1 processor)  %.2f (2)\n", ratio(one.cpu, nodes.cpu), ratio(two.cpu, nodes.cpu))
	fmt.Printf("  wall on 2 / on 1           %6.2f\n", ratio(two.wall, one.wall))
	fmt.Printf("  (memory - 64 MiB) / input  %6.2f\n", (float64(two.memory)-64<<20)/float64(summary.Bytes))
	if m.istioctl == "" {
		return os.RemoveAll(dir)
	}
	peer, err := m.run(2, m.istioctl, "analyze", "--use-kube=false", "-A", dir)
	if err != nil {
		return err
	}
	fmt.Printf("  istioctl analyze           %6.2f s CPU  %6.2f s wall  %5.0f MiB\n", peer.cpu.Seconds(), peer.wall.Seconds(), mib(peer.memory))
	fmt.Printf("  CPU of istioctl / of lint  %6.2f\n", ratio(peer.cpu, two.cpu))
	return os.RemoveAll(dir)
}

// growth measures how CPU grows with the mesh: by what power of its size.
func (m *measurement) growth() error {
	var first cost
	least, largest := 1_250, 20_000
	for n := least; n <= largest; n *= 2 {
		dir := filepath.Join(m.dir, fmt.Sprint(n))
		if _, err := largemesh.Write(dir, largemesh.Options{Workloads: n, Hosts: n / 2}); err != nil {
			return err
		}
		c, err := m.run(2, m.binary, append(slices.Clone(m.lint), dir)...)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		if n == least {
			first = c
		}
		fmt.Printf("%6d workloads %6.2f s CPU %5.0f MiB\n", n, c.cpu.Seconds(), mib(c.memory))
		if n == largest {
			fmt.Printf("exponent of CPU from %d to %d workloads: %.2f\n", least, largest,
				math.Log(ratio(c.cpu, first.cpu))/math.Log(float64(largest)/float64(least)))
		}
	}
	return nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
