// Package switches holds the product's account of istiod's environment variables
// against istiod itself.
package switches

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pilot/pkg/features"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model/flow"
)

const cases = "../../testdata/switches"

// flags and texts are the variables of istiod that a test can set: istiod reads them
// when it makes configuration, not when it is started.
var flags = map[string]*bool{
	"ENABLE_ENHANCED_DESTINATIONRULE_MERGE":              &features.EnableEnhancedDestinationRuleMerge,
	"ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT":               &features.EnableGatewayAPIManualDeployment,
	"ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY":           &features.EnableSelectorBasedK8sGatewayPolicy,
	"PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE": &features.EnableSidecarServiceInboundListenerMerge,
	"PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN":            &features.EnableAbsoluteFqdnVhostDomain,
	"PILOT_ENABLE_ALPN_FILTER":                           &features.ALPNFilter,
	"PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES":             &features.EnableEDSForHeadless,
	"PILOT_ENABLE_IP_AUTOALLOCATE":                       &features.EnableIPAutoallocate,
	"PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES":           &features.EnableK8SServiceSelectWorkloadEntries,
	"PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS":       &features.EnableMultipleCustomAuthzProviders,
	"PILOT_ENABLE_SERVICEENTRY_SELECT_PODS":              &features.EnableServiceEntrySelectPods,
	"PILOT_ENABLE_STRICT_GATEWAY_MERGING":                &features.EnableStrictGatewayMerging,
	"PILOT_FILTER_GATEWAY_CLUSTER_CONFIG":                &features.FilterGatewayClusterConfig,
	"PILOT_SCOPE_GATEWAY_TO_NAMESPACE":                   &features.ScopeGatewayToNamespace,
	"PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE":          &features.SidecarPickBestServiceNamespace,
	"PILOT_SIDECAR_USE_REMOTE_ADDRESS":                   &features.UseRemoteAddress,
	"PILOT_UNIFIED_SIDECAR_SCOPE":                        &features.UnifiedSidecarScoping,
	"PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES":   &features.PreferDestinationRulesTLSForExternalServices,
}

var texts = map[string]*string{
	"PILOT_DRAINING_LABEL": &features.DrainingLabel,
}

// question is a flow of a case, with istiod's answers by default and with the
// variable.
type question struct {
	flow.Flow
	Value        string
	With         map[string]string
	Default, Set flow.Trace
	Source       string
}

// TestIstiodAnswers asks istiod what the cases say that it answers.
func TestIstiodAnswers(t *testing.T) {
	files, err := filepath.Glob(cases + "/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	asked := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		questions := read(t, file)
		questions = slices.DeleteFunc(questions, func(q question) bool { return q.Source != "istiod" })
		if len(questions) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			asked++
			ask(t, name, questions, func(q question) flow.Trace { return q.Default })
			restore := set(t, name, questions[0].Value)
			defer restore()
			ask(t, name, questions, func(q question) flow.Trace { return q.Set })
		})
	}
	if asked != len(flags)+len(texts) {
		t.Errorf("%d variables are asked about, of %d that can be", asked, len(flags)+len(texts))
	}
}

func read(t *testing.T, file string) []question {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []question
	for line := range strings.Lines(string(text)) {
		var q question
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// set gives a variable a value and returns what takes it back.
func set(t *testing.T, name, value string) func() {
	if flag := flags[name]; flag != nil {
		before := *flag
		*flag = value == "true"
		return func() { *flag = before }
	}
	text := texts[name]
	if text == nil {
		t.Fatal("no variable of istiod is known that stands for it")
	}
	before := *text
	*text = value
	return func() { *text = before }
}

// ask compares istiod's answers.
func ask(t *testing.T, name string, questions []question, want func(question) flow.Trace) {
	var stream []byte
	for _, file := range []string{"base.yaml", name + ".yaml"} {
		text, err := os.ReadFile(filepath.Join(cases, file))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(append(stream, text...), "\n---\n"...)
	}
	manifests, err := judge.Parse(stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, rejected := range manifests.Rejected {
		t.Errorf("rejected: %v", rejected)
	}
	mesh, err := judge.Open(manifests)
	if err != nil {
		t.Fatal(err)
	}
	defer mesh.Close()
	for _, q := range questions {
		got, want := mesh.Trace(q.Flow), want(q)
		if got.Outcome != want.Outcome || got.Via != want.Via || got.Reason != want.Reason || got.UpstreamTLS != want.UpstreamTLS ||
			got.HTTPStatus != want.HTTPStatus || got.Policy != want.Policy {
			t.Errorf("flow %s: istiod answers %s %s %s tls=%s %d %s, want %s %s %s tls=%s %d %s (%s)", q.ID,
				got.Outcome, got.Via, got.Reason, got.UpstreamTLS, got.HTTPStatus, got.Policy,
				want.Outcome, want.Via, want.Reason, want.UpstreamTLS, want.HTTPStatus, want.Policy, got.Detail)
		}
	}
}
