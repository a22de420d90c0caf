package model

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The types below are those of k8s.io/api/admissionregistration/v1, of which
// nothing else is read: that package registers all its kinds when the program
// starts, and with them the code that sends them to an API server.
// TestWebhookIsKubernetes holds both against each other.

// MutatingWebhookConfiguration says which webhooks an API server asks about an
// object before it is stored.
type MutatingWebhookConfiguration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Webhooks          []Webhook `json:"webhooks,omitempty"`
}

// Webhook is one of them.
type Webhook struct {
	Name                    string                  `json:"name"`
	ClientConfig            WebhookClientConfig     `json:"clientConfig"`
	Rules                   []WebhookRule           `json:"rules,omitempty"`
	FailurePolicy           *string                 `json:"failurePolicy,omitempty"`
	MatchPolicy             *string                 `json:"matchPolicy,omitempty"`
	NamespaceSelector       *metav1.LabelSelector   `json:"namespaceSelector,omitempty"`
	ObjectSelector          *metav1.LabelSelector   `json:"objectSelector,omitempty"`
	SideEffects             *string                 `json:"sideEffects"`
	TimeoutSeconds          *int32                  `json:"timeoutSeconds,omitempty"`
	AdmissionReviewVersions []string                `json:"admissionReviewVersions"`
	ReinvocationPolicy      *string                 `json:"reinvocationPolicy,omitempty"`
	MatchConditions         []WebhookMatchCondition `json:"matchConditions,omitempty"`
}

// WebhookClientConfig says where a webhook is.
type WebhookClientConfig struct {
	URL      *string         `json:"url,omitempty"`
	Service  *WebhookService `json:"service,omitempty"`
	CABundle []byte          `json:"caBundle,omitempty"`
}

// WebhookService names a Service that answers for a webhook.
type WebhookService struct {
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Path      *string `json:"path,omitempty"`
	Port      *int32  `json:"port,omitempty"`
}

// WebhookRule says which requests a webhook is asked about; "*" stands for all.
type WebhookRule struct {
	Operations  []string `json:"operations,omitempty"`
	APIGroups   []string `json:"apiGroups,omitempty"`
	APIVersions []string `json:"apiVersions,omitempty"`
	Resources   []string `json:"resources,omitempty"`
	Scope       *string  `json:"scope,omitempty"`
}

// WebhookMatchCondition is an expression in CEL, which is not evaluated.
type WebhookMatchCondition struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}
