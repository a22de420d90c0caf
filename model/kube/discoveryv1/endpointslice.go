// Package discoveryv1 has EndpointSlice as k8s.io/api/discovery/v1 has it, field by
// field, without the wire format.
package discoveryv1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelServiceName names the Service that an EndpointSlice belongs to.
const LabelServiceName = "kubernetes.io/service-name"

// EndpointSlice are endpoints of a Service.
type EndpointSlice struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	AddressType       AddressType    `json:"addressType"`
	Endpoints         []Endpoint     `json:"endpoints"`
	Ports             []EndpointPort `json:"ports"`
}

// AddressType is the kind of addresses that a slice has.
type AddressType string

// Endpoint is one endpoint.
type Endpoint struct {
	Addresses          []string                `json:"addresses"`
	Conditions         EndpointConditions      `json:"conditions,omitempty"`
	Hostname           *string                 `json:"hostname,omitempty"`
	TargetRef          *corev1.ObjectReference `json:"targetRef,omitempty"`
	DeprecatedTopology map[string]string       `json:"deprecatedTopology,omitempty"`
	NodeName           *string                 `json:"nodeName,omitempty"`
	Zone               *string                 `json:"zone,omitempty"`
	Hints              *EndpointHints          `json:"hints,omitempty"`
}

// EndpointConditions are the states of an endpoint.
type EndpointConditions struct {
	Ready       *bool `json:"ready,omitempty"`
	Serving     *bool `json:"serving,omitempty"`
	Terminating *bool `json:"terminating,omitempty"`
}

// EndpointHints say who is to use an endpoint.
type EndpointHints struct {
	ForZones []ForZone `json:"forZones,omitempty"`
	ForNodes []ForNode `json:"forNodes,omitempty"`
}

// ForZone is a zone that is to use an endpoint.
type ForZone struct {
	Name string `json:"name"`
}

// ForNode is a node that is to use an endpoint.
type ForNode struct {
	Name string `json:"name"`
}

// EndpointPort is a port of the endpoints of a slice.
type EndpointPort struct {
	Name        *string          `json:"name,omitempty"`
	Protocol    *corev1.Protocol `json:"protocol,omitempty"`
	Port        *int32           `json:"port,omitempty"`
	AppProtocol *string          `json:"appProtocol,omitempty"`
}
