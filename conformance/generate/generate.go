// Package generate makes random meshes and flows from a seed: valid manifests,
// the odd ones included, over a universe so small that objects meet, overlap
// and contradict each other.
package generate

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/flow"
)

// Case is a mesh and questions to it.
type Case struct {
	Seed    uint64
	Objects []Object
	Flows   []flow.Flow
}

// Object is one manifest, as a document of YAML decodes.
type Object map[string]any

// New makes the case of a seed, with the given number of flows.
func New(seed uint64, flows int) *Case {
	w := newWorld(seed)
	w.tidy = w.chance(0.4)
	w.mesh()
	w.workloads()
	for range w.between(1, 3) {
		w.scenario()
	}
	if !w.tidy || w.chance(0.3) {
		w.soup()
	}
	c := &Case{Seed: seed, Objects: w.objects}
	for range flows {
		c.Flows = append(c.Flows, w.flow(len(c.Flows)))
	}
	return c
}

// YAML returns the objects as one stream of documents.
func (c *Case) YAML() []byte { return Stream(c.Objects) }

// Stream returns objects as one stream of documents, fields in order of their
// names.
func Stream(objects []Object) []byte {
	var out bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object)
		if err != nil {
			// Objects are made of maps, slices and scalars only.
			panic(fmt.Sprintf("cannot write %v: %v", object, err))
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes()
}

// world is the universe of one mesh and what has been put into it.
type world struct {
	*rand.Rand
	seed    uint64
	objects []Object
	names   map[string]int

	namespaces []string
	root       string
	clients    []string // workloads that flows start from
	gateways   []gatewayPods
	services   []service
	headless   []string // of the services
	// tidy is a mesh whose paths hardly meet anything else.
	tidy bool
	// tokens says that requests are authenticated.
	tokens bool
	// v6 says that addresses of IPv6 occur.
	v6 bool
	// seen are what objects mention, for flows that hit them.
	seen mentions
}

// mentions are the values that objects of the mesh name, with repetitions:
// what is named often is asked for often.
type mentions struct {
	hosts, addresses, gatewayNames []string
	ports                          []int
	targets                        []destination // host and port pairs that fit
}

type destination struct {
	host string
	port int
	// protocol is what the port speaks.
	protocol string
}

func newWorld(seed uint64) *world {
	return &world{
		Rand:       rand.New(rand.NewPCG(seed, 0x65677265737373)), //nolint:gosec // repeatable on purpose
		seed:       seed,
		names:      map[string]int{},
		namespaces: []string{"default", "app", "other", "istio-system"},
		root:       "istio-system",
	}
}
