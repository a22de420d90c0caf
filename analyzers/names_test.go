package analyzers

import "testing"

func TestNear(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"tickets", "tikcets", true},
		{"default", "default", false},
		{"otherns", "other-ns", true},
		{"sleep", "slep", true},
		{"shop", "shpo", true},
		{"developer.google.com", "developers.google.com", true},
		{"istio-gateways", "istio-gatewys", true},
		{"egress-gateway", "ingress-gateway", false},
		{"egressgateway", "ingressgateway", false},
		{"egressgateway", "egresgateway", true},
		{"team-a", "team-b", false},
		{"api1", "api2", false},
		{"v1", "v2", false},
		{"us-east", "us-west", false},
		{"eu.api.example", "us.api.example", false},
		{"orders", "payments", false},
		{"shop", "shop-orders", false},
	} {
		if got := near(c.a, c.b); got != c.want {
			t.Errorf("near(%q, %q) = %v", c.a, c.b, got)
		}
		if got := near(c.b, c.a); got != c.want {
			t.Errorf("near(%q, %q) = %v", c.b, c.a, got)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"billing", "reports", "report-archive", "reports"}
	for name, want := range map[string]string{"report": "reports", "reports": "", "payments": "", "biling": "billing"} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := nearest("tickets", []string{"ticket", "tickts"}); got != "" {
		t.Errorf("of two names that are near one is chosen: %q", got)
	}
}
