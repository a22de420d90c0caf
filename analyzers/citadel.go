package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// citadelFiles is where certificates of Citadel were mounted before Istio 1.5.
const citadelFiles = "/etc/certs"

func underCitadelFiles(file string) bool {
	return file == citadelFiles || strings.HasPrefix(file, citadelFiles+"/")
}

func reportCitadelFiles(p *Pass) {
	for _, g := range p.Mesh.Gateways {
		var fields []string
		for i, server := range g.Spec.GetServers() {
			if underCitadelFiles(server.GetTls().GetServerCertificate()) {
				fields = append(fields, fmt.Sprintf("spec.servers[%d].tls.serverCertificate", i))
			}
		}
		if len(fields) == 0 || hasCitadelFiles(p, g) {
			continue
		}
		f := Finding{
			Severity: Warning, Object: g.Object, Field: fields[0], Label: "no such file",
			Message: fmt.Sprintf("Gateway %s takes the certificate of %s from %s, where nothing puts one since Istio 1.5: connections to it fail; "+
				"use tls.mode ISTIO_MUTUAL for clients of the mesh, or a credentialName", g.ID(), counted(len(fields), "server"), citadelFiles),
		}
		for _, field := range fields[1:] {
			f.Related = append(f.Related, Related{g.Object, field, "so does this server"})
		}
		p.Report(f)
	}
}

// hasCitadelFiles reports whether a pod that a Gateway selects has a volume of its
// own where Citadel's files were, or is told to write its certificates to files.
func hasCitadelFiles(p *Pass, g *model.Gateway) bool {
	for _, w := range p.Mesh.Workloads {
		if w.Pod == nil || !hasLabels(w.Labels, g.Spec.GetSelector()) {
			continue
		}
		for _, c := range w.Pod.Containers {
			for _, m := range c.VolumeMounts {
				if underCitadelFiles(strings.TrimSuffix(m.MountPath, "/")) {
					return true
				}
			}
			for _, e := range c.Env {
				if e.Name == "OUTPUT_CERTS" {
					return true
				}
			}
		}
		// Pods that an installation implies have their volumes in its values.
		volumes, _ := p.Mesh.ConfigFor(w).Value("gateways." + w.Name + ".secretVolumes")
		if strings.Contains(w.Annotations["proxy.istio.io/config"], "OUTPUT_CERTS") || strings.Contains(fmt.Sprint(volumes), citadelFiles) {
			return true
		}
	}
	return false
}
