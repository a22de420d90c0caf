// Package reach answers for every (workload, host, port): which hosts and ports
// there are to ask for, what becomes of the requests of each workload to them,
// and how the answers group into rectangles.
package reach

import (
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// Destination is a host and a port that a workload may ask for.
type Destination struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	// Stands says, where it is not empty, what the host is a witness of: the
	// wildcard "*.example.com", or AnyName or AnyAddress.
	Stands string `json:"stands_for,omitempty"`
}

// What a destination stands for where no manifest names it.
const (
	// AnyName is any host name that no manifest registers.
	AnyName = "any unregistered name"
	// AnyAddress is any public address that no manifest lists.
	AnyAddress = "any address"
)

// Address is the kind of address that the client dials.
type Address string

const (
	// Listed is the address that the manifests give for the host.
	Listed Address = "listed"
	// Other is any other public address.
	Other Address = "other"
)

// Depends is the outcome of a tuple whose fate depends on the request.
const Depends flow.Outcome = "depends"

// Answer is the fate of a tuple for one client protocol and kind of address.
type Answer struct {
	// Protocol is http, tls or tcp.
	Protocol flow.Scheme `json:"protocol"`
	// Address is empty where listed and other addresses fare alike.
	Address Address      `json:"address,omitempty"`
	Outcome flow.Outcome `json:"outcome"`
	// SomeAllowed: at least one request gets out. EveryAllowed: each does.
	SomeAllowed  bool             `json:"some_allowed"`
	EveryAllowed bool             `json:"every_allowed"`
	Via          flow.Via         `json:"via"`
	Reason       flow.Reason      `json:"reason"`
	Policy       string           `json:"policy,omitempty"`
	Rule         *int             `json:"rule,omitempty"`
	Guarantee    string           `json:"guarantee,omitempty"`
	UpstreamTLS  flow.UpstreamTLS `json:"upstream_tls,omitempty"`
	HTTPStatus   int              `json:"http_status,omitempty"`
	// When says, for outcome "depends", which requests fare how.
	When []Condition `json:"when,omitempty"`

	// Flow is a request that fares like this (of the first workload of a
	// rectangle), for whoever wants its trace.
	Flow flow.Flow `json:"-"`
}

// Condition is a set of requests that fare alike. Empty lists mean any.
type Condition struct {
	Methods    []string     `json:"methods,omitempty"`
	Paths      []string     `json:"paths,omitempty"`
	Headers    []string     `json:"headers,omitempty"`
	Hosts      []string     `json:"hosts,omitempty"`
	Outcome    flow.Outcome `json:"outcome"`
	Via        flow.Via     `json:"via"`
	Reason     flow.Reason  `json:"reason"`
	Policy     string       `json:"policy,omitempty"`
	HTTPStatus int          `json:"http_status,omitempty"`
	// UpstreamTLS differs where only some requests are sent by a way that adds TLS.
	UpstreamTLS flow.UpstreamTLS `json:"upstream_tls,omitempty"`

	// Flow is a request of this set.
	Flow flow.Flow `json:"-"`
}

// Rectangle is a set of workloads and a set of destinations with one answer:
// every workload reaches every destination in the same way.
type Rectangle struct {
	Workloads    []*model.Workload
	Destinations []Destination
	Answers      []Answer
}

// Matrix is all tuples of a query as rectangles, each tuple in exactly one.
// Rectangles are sorted by their first workload and first destination;
// workloads and destinations within are sorted.
type Matrix struct {
	Workloads    []*model.Workload
	Destinations []Destination
	Rectangles   []Rectangle
	Assumptions  []string
}

// Query selects tuples. Empty lists select everything.
type Query struct {
	// From are globs over "namespace/name".
	From []string
	// To are destinations asked for by name; a Port of 0 means all ports of
	// the universe.
	To []Destination
}

// Reach asks the simulation for tuples and remembers the answers. It is not safe
// for concurrent use.
type Reach struct {
	Mesh *model.Mesh
	Sim  *traffic.Simulation

	classes  [][]*model.Workload
	clients  []*model.Workload
	class    map[*model.Workload]*model.Workload
	universe []Destination
	// answers are those with conditions, strangers those without guarantees of
	// destinations that are not of the universe, or that have conditions.
	answers, strangers map[tuple][]Answer
	samples            map[string]*requests
	// portless are what withoutPort returns, nil before.
	portless *[]host.Name
	*columns
	*rows
	*cohorts
	traced verdicts
	*about
}

// tuple is what answers are remembered by: the first workload of a class, and a
// destination.
type tuple struct {
	workload *model.Workload
	to       Destination
}

// New returns a Reach over a simulation.
func New(sim *traffic.Simulation) *Reach {
	r := &Reach{Mesh: sim.Mesh(), Sim: sim, answers: map[tuple][]Answer{}, strangers: map[tuple][]Answer{}, samples: map[string]*requests{}}
	r.about = &about{}
	r.traced.trees = map[flowKey]*tree[told]{}
	r.traced.requests = map[requestKey]requested{}
	r.columns, r.rows, r.cohorts = &columns{}, newRows(), newCohorts()
	r.classify()
	return r
}

// Trace decides one flow.
//
//go:noinline
func (r *Reach) Trace(f flow.Flow) *flow.Trace { return r.Sim.Trace(f) }

// Clients returns the workloads whose egress is asked for: all but gateways,
// sorted by namespace, name and kind. The list is shared: do not change it.
func (r *Reach) Clients() []*model.Workload {
	if r.clients == nil {
		for _, w := range r.Mesh.Workloads {
			if r.class[w] != nil {
				r.clients = append(r.clients, w)
			}
		}
	}
	return r.clients
}

// Classes returns the clients grouped so that the members of a group cannot be
// told apart by any configuration: each has the same answers.
func (r *Reach) Classes() [][]*model.Workload { return r.classes }

// From names a workload as flows do.
//
//go:noinline
func From(w *model.Workload) string { return traffic.From(w) }
