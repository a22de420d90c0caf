package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR504", Name: "upstream-name-unchecked", Severity: Warning, SecuritySeverity: 6.4,
	Precision: PrecisionVeryHigh,
	Run:       runNameUnchecked,
	Doc: Doc{
		Title: "A DestinationRule opens TLS to an external host without checking whose certificate it gets",
		What: "A DestinationRule for a registered host opens TLS (SIMPLE or MUTUAL) with `sni`, or on a port of protocol TCP, and neither it nor the ServiceEntry lists `subjectAltNames`. " +
			"It is a note where `caCertificates` or `credentialName` names the authorities to trust.",
		Why: "Istio has Envoy compare the certificate with the name of the request only where `sni` is not set, and only for HTTP. Otherwise just the chain is verified: " +
			"any certificate of any public certificate authority will do, also that of somebody else's host.",
		Bad:     egressDoc(verifiedRule("      sni: api.example.com\n"), entryPorts, entryOriginated),
		Good:    egressDoc(verifiedRule("      sni: api.example.com\n      subjectAltNames:\n      - api.example.com\n"), entryPorts, entryOriginated),
		Fix:     "Add the host to `subjectAltNames`. For HTTP it is enough to remove `sni`: the server name is then that of the request, and the certificate is checked against it.",
		Silent:  "`insecureSkipVerify` (EGR503); hosts of resolution DYNAMIC_DNS, which are always checked; hosts that nothing registers; rules in a namespace where no proxy looks.",
		Sources: []string{"istio pilot/pkg/networking/core/cluster_tls.go (setAutoSniAndAutoSanValidation, constructUpstreamTLS)"},
	},
})

func runNameUnchecked(p *Pass) {
	in := intentOf(p)
	for _, s := range originations(p) {
		if s.GetInsecureSkipVerify().GetValue() || len(s.GetSubjectAltNames()) > 0 {
			continue
		}
		services := slices.DeleteFunc(slices.Clone(s.services), func(svc *model.Service) bool { return !s.unchecked(svc) })
		if len(services) == 0 {
			continue
		}
		s.services = services
		f := Finding{
			Object: s.rule.Object, Field: s.field, Severity: Warning, SecuritySeverity: 6.4,
			Label:   "no name is compared",
			Related: []Related{{services[0].Object, services[0].HostField, fmt.Sprintf("%s lists no subjectAltNames either", services[0].Object)}},
		}
		trusted := "any certificate that a public certificate authority has issued"
		if s.ownAuthorities() {
			trusted, f.Severity, f.SecuritySeverity = "any certificate of its certificate authorities", Note, 3.5
		}
		why, todo := "opens TLS on a TCP port", fmt.Sprintf("add subjectAltNames: [%q]", s.nameToCheck())
		if s.GetSni() != "" {
			f.Field += ".sni"
			why, todo = fmt.Sprintf("sets sni %q", s.GetSni()), todo+", or for HTTP remove sni"
		}
		name := s.nameToCheck()
		if other := in.otherHost(s); other != nil {
			name = string(services[0].Hostname)
			why += fmt.Sprintf(", the name of another host (%s),", other.Object)
			todo = fmt.Sprintf("write %q, or remove sni", name)
			f.Related = append(f.Related, Related{other.Object, other.HostField, fmt.Sprintf("%s registers that one", other.Object)})
		}
		f.Message = fmt.Sprintf("%s %s without subjectAltNames: %s is accepted for %s; %s", s.rule, why, trusted, upTo3(s.hosts()), todo)
		f.Help = todo
		f.Fix = fmt.Sprintf("subjectAltNames:\n- %s\n", name)
		if c := in.users(s); c != nil {
			f = c.finding(f)
		}
		p.Report(f)
	}
}

// otherHost returns the service that has the sni of settings as its host while they are
// for other hosts, nil if there is none.
func (in *intent) otherHost(s tlsSetting) *model.Service {
	sni := strings.ToLower(s.GetSni())
	if sni == "" || slices.ContainsFunc(s.services, func(x *model.Service) bool { return host.Name(sni).SubsetOf(model.LowerHost(x.Hostname)) }) {
		return nil
	}
	for _, x := range in.registering(in.push, host.Name(sni)) {
		if x.Entry != nil && string(model.LowerHost(x.Hostname)) == sni {
			return x
		}
	}
	return nil
}

// unchecked reports whether proxies do not compare the certificate of a service
// with any name.
func (s tlsSetting) unchecked(svc *model.Service) bool {
	switch {
	case len(svc.SubjectAltNames) > 0, svc.Resolution == model.DynamicDNS:
		return false
	case s.GetSni() != "":
		return true
	}
	return slices.ContainsFunc(svc.Ports, func(port *model.Port) bool {
		return (s.port == 0 || s.port == port.Number) &&
			slices.Contains([]protocol.Instance{protocol.TCP, protocol.Mongo, protocol.MySQL, protocol.Redis}, port.Protocol)
	})
}

// ownAuthorities reports whether the rule names the certificate authorities to
// trust, other than those of the operating system.
func (s tlsSetting) ownAuthorities() bool {
	file := s.GetCaCertificates()
	return s.GetCredentialName() != "" ||
		file != "" && file != "system" && !strings.HasPrefix(file, "/etc/ssl/") && !strings.HasPrefix(file, "/etc/pki/")
}

func (s tlsSetting) nameToCheck() string {
	if s.GetSni() != "" {
		return s.GetSni()
	}
	return string(s.services[0].Hostname)
}
