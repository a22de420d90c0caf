package capture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// ProxyID is the user and group id of the injected proxy.
const ProxyID = 1337

// proxyIDs returns the user and group id that the redirect leaves alone.
//
// The injector takes them from the range of an OpenShift namespace (istio
// pkg/kube/inject/openshift.go), and from the istio-proxy container of the
// manifest if it has one (pkg/kube/inject/webhook.go adjustInitContainerUser,
// which TPROXY keeps out). istio-init is told the user only and takes the group
// to be the same (tools/common/config/config.go FillConfigFromEnvironment); the
// CNI plugin reads both from the container.
func (s *subject) proxyIDs() (uid, gid int64) {
	if args := s.initArgs(); args != nil {
		uid = number(args.text("uid").value, ProxyID)
		return uid, number(args.text("gid").value, uid)
	}
	mode, _ := s.interceptionMode()
	uid, gid = ProxyID, ProxyID
	if mode != "TPROXY" {
		if s.ns.Object != nil {
			uid = lastOf(s.ns.Object.Annotations["openshift.io/sa.scc.uid-range"], uid)
			groups, _, _ := strings.Cut(s.ns.Object.Annotations["openshift.io/sa.scc.supplemental-groups"], ",")
			gid = lastOf(groups, gid)
		}
		if c := s.w.ProxyContainer(); c != nil && c.SecurityContext != nil {
			if id := c.SecurityContext.RunAsUser; id != nil && *id != 0 {
				uid = *id
			}
			if id := c.SecurityContext.RunAsGroup; id != nil && *id != 0 {
				gid = *id
			}
		}
	}
	if on, _ := s.pluginInstalled(); !on {
		gid = uid
	}
	return uid, gid
}

func number(text string, unset int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return unset
}

// lastOf is the last id of an OpenShift range, "start/size" or "start-end".
func lastOf(block string, unset int64) int64 {
	if start, size, ok := strings.Cut(block, "/"); ok {
		first, err := strconv.ParseUint(start, 10, 32)
		count, err2 := strconv.ParseUint(size, 10, 32)
		if err == nil && err2 == nil && count > 0 {
			return int64(first) + int64(count) - 1 //nolint:gosec // both have 32 bits
		}
		return unset
	}
	_, end, _ := strings.Cut(block, "-")
	return number(end, unset)
}

// proxyIdentity returns the application containers of the pod that run with the
// proxy's user or group id, and where that is said.
func (s *subject) proxyIdentity() (names []string, from []flow.Because) {
	if s.w.Pod == nil {
		return nil, nil
	}
	uid, gid := s.proxyIDs()
	for i, c := range s.w.Pod.Containers {
		if c.Name == model.ProxyContainer {
			continue
		}
		user, userField := effectiveID(s.w.Pod, c, i, "runAsUser")
		group, groupField := effectiveID(s.w.Pod, c, i, "runAsGroup")
		switch {
		case user != nil && *user == uid:
			names, from = append(names, c.Name), append(from, because(s.w, userField))
		case group != nil && *group == gid:
			names, from = append(names, c.Name), append(from, because(s.w, groupField))
		}
	}
	return names, from
}

// applications counts the containers of the pod beside its proxy.
func (s *subject) applications() int {
	n := 0
	for i := range s.w.Pod.Containers {
		if s.w.Pod.Containers[i].Name != model.ProxyContainer {
			n++
		}
	}
	return n
}

// ownerGroups reports what ISTIO_OUTBOUND_OWNER_GROUPS and its counterpart make
// of the application's containers: istio-init redirects only what certain
// groups send (tools/istio-iptables/pkg/capture/run.go handleCaptureByOwnerGroup;
// the CNI plugin does not read them). escapes says that a container is left out,
// unknown that its group is not in the manifest.
func (s *subject) ownerGroups() (escapes, unknown bool) {
	if on, _ := s.pluginInstalled(); on || s.w.Pod == nil {
		return false, false
	}
	metadata := s.metadata()
	include, given := metadata["ISTIO_OUTBOUND_OWNER_GROUPS"]
	exclude := splitList(metadata["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"])
	everyone := !given || include == "*"
	if everyone && len(exclude) == 0 {
		return false, false
	}
	for i, c := range s.w.Pod.Containers {
		if c.Name == model.ProxyContainer {
			continue
		}
		group, _ := effectiveID(s.w.Pod, c, i, "runAsGroup")
		list := splitList(include)
		if everyone {
			list = exclude
		}
		named := slices.ContainsFunc(list, func(g string) bool { _, err := strconv.Atoi(g); return err != nil })
		switch listed := group != nil && contains(list, strconv.FormatInt(*group, 10)); {
		case group == nil, !listed && named:
			unknown = true
		case listed == everyone:
			escapes = true
		}
	}
	return escapes, unknown
}

// effectiveID returns the user or group id that a container runs with, nil if
// the image decides, and the field that sets it.
func effectiveID(pod *corev1.PodSpec, c corev1.Container, i int, field string) (*int64, string) {
	own, inherited := (*int64)(nil), (*int64)(nil)
	if sc := c.SecurityContext; sc != nil {
		if own = sc.RunAsUser; field == "runAsGroup" {
			own = sc.RunAsGroup
		}
	}
	if own != nil {
		return own, fmt.Sprintf("spec.containers[%d].securityContext.%s", i, field)
	}
	if sc := pod.SecurityContext; sc != nil {
		if inherited = sc.RunAsUser; field == "runAsGroup" {
			inherited = sc.RunAsGroup
		}
	}
	return inherited, "spec.securityContext." + field
}
