package capture

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"

	"istio.io/istio/pkg/util/net"
)

// validated are the annotations that the injector looks at beside those of the
// redirect, with its own tests (istio pkg/kube/inject/validate.go
// AnnotationValidation), in the order in which they are reported.
var validated = []struct {
	key  string
	test func(string) error
}{
	{interceptionKey, testInterception},
	{trafficPrefix + "includeInboundPorts", testAllOrPorts},
	{trafficPrefix + "excludeInboundPorts", testPorts},
	{trafficPrefix + "excludeInterfaces", net.ValidateInterfaceNames},
	{trafficPrefix + "kubevirtInterfaces", net.ValidateInterfaceNames},
	{"istio.io/reroute-virtual-interfaces", net.ValidateInterfaceNames},
	{"status.sidecar.istio.io/port", testPort},
	{"readiness.status.sidecar.istio.io/initialDelaySeconds", testNumber},
	{"readiness.status.sidecar.istio.io/periodSeconds", testNumber},
	{"readiness.status.sidecar.istio.io/failureThreshold", testNumber},
	{"prometheus.istio.io/merge-metrics", testBool},
	{"sidecar.istio.io/proxyCPU", testQuantity},
	{"sidecar.istio.io/proxyMemory", testQuantity},
	{"sidecar.istio.io/proxyCPULimit", testQuantity},
	{"sidecar.istio.io/proxyMemoryLimit", testQuantity},
}

// annotations recognises pods whose annotations the injector refuses, and such
// as would only fail in istio-iptables; nil where all is well.
func (s *subject) annotations() *Capture {
	for _, v := range validated {
		value, ok := s.w.Annotations[v.key]
		if !ok {
			continue
		}
		if err := v.test(value); err != nil {
			return refused(fmt.Sprintf("%s=%q is not accepted (%v): the injector refuses its pods", v.key, value, err), s.podAnnotation(v.key)...)
		}
	}
	if _, err := proxyConfigOf(s.w); err != nil {
		return refused(fmt.Sprintf("the injector does not accept %s and refuses its pods", proxyConfigKey), s.podAnnotation(proxyConfigKey)...)
	}
	if set := s.settings(); set.wrong != "" {
		return refused(set.wrong, set.wrongFrom...)
	}
	return nil
}

func testInterception(value string) error {
	if !contains([]string{"REDIRECT", "TPROXY", "NONE"}, value) {
		return errors.New("it is none of REDIRECT, TPROXY and NONE")
	}
	return nil
}

func testPorts(value string) error {
	_, err := parsePorts(value)
	return err
}

func testAllOrPorts(value string) error {
	if value == "*" {
		return nil
	}
	return testPorts(value)
}

func testPort(value string) error {
	if _, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16); err != nil {
		return errors.New("it is no port")
	}
	return nil
}

func testNumber(value string) error {
	if _, err := strconv.ParseUint(value, 10, 32); err != nil {
		return errors.New("it is no number")
	}
	return nil
}

func testBool(value string) error {
	if _, err := strconv.ParseBool(value); err != nil {
		return errors.New("it is neither true nor false")
	}
	return nil
}

func testQuantity(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("it has control characters")
	}
	if _, err := resource.ParseQuantity(value); err != nil {
		return errors.New("it is no quantity")
	}
	return nil
}
