package generate

import (
	"bytes"
	"testing"
)

func TestSeedsRepeat(t *testing.T) {
	for seed := range uint64(20) {
		a, b := New(seed, 30), New(seed, 30)
		if !bytes.Equal(a.YAML(), b.YAML()) {
			t.Errorf("seed %d makes two meshes", seed)
		}
		for i := range a.Flows {
			if a.Flows[i].Host != b.Flows[i].Host || a.Flows[i].DstIP != b.Flows[i].DstIP || a.Flows[i].Path != b.Flows[i].Path {
				t.Errorf("seed %d asks two questions: %+v, %+v", seed, a.Flows[i], b.Flows[i])
			}
		}
	}
	if bytes.Equal(New(1, 1).YAML(), New(2, 1).YAML()) {
		t.Error("two seeds make one mesh")
	}
}

// TestEveryKindOccurs: what the meshes are made of does not quietly run dry.
func TestEveryKindOccurs(t *testing.T) {
	seen := map[string]int{}
	fields := map[string]bool{}
	for seed := range uint64(300) {
		for _, o := range New(seed, 0).Objects {
			seen[o["kind"].(string)]++
			if spec, ok := o["spec"].(map[string]any); ok {
				for field := range spec {
					fields[o["kind"].(string)+"."+field] = true
				}
			}
		}
	}
	for _, kind := range []string{
		"Namespace", "ConfigMap", "Deployment", "Service", "ServiceEntry", "WorkloadEntry", "VirtualService",
		"DestinationRule", "Gateway", "Sidecar", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication",
	} {
		if seen[kind] == 0 {
			t.Errorf("no %s in 300 meshes", kind)
		}
	}
	for _, field := range []string{
		"ServiceEntry.addresses", "ServiceEntry.endpoints", "ServiceEntry.workloadSelector", "ServiceEntry.exportTo", "ServiceEntry.subjectAltNames",
		"VirtualService.tls", "VirtualService.tcp", "VirtualService.exportTo", "DestinationRule.workloadSelector", "DestinationRule.exportTo",
		"Sidecar.workloadSelector", "Sidecar.outboundTrafficPolicy", "Sidecar.ingress", "AuthorizationPolicy.targetRefs", "AuthorizationPolicy.provider",
	} {
		if !fields[field] {
			t.Errorf("no %s in 300 meshes", field)
		}
	}
}
