package model

import (
	"encoding/json"
	"fmt"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model/manifest"
)

// flagName is the name of the object that stands for the command line.
const flagName = "--set"

// readFlags checks the --set flags and keeps those that make sense.
func (c *configuring) readFlags() {
	for _, flag := range c.mesh.Options.Set {
		if err := CheckSet(flag); err != nil {
			c.wrongFlag(err.Error())
			continue
		}
		c.flags = append(c.flags, flag)
	}
	if tree, err := applyFlags(map[string]any{}, c.flags); err == nil {
		c.flagged = asMap(tree["spec"])
	} else {
		c.flags = nil
		c.wrongFlag(err.Error())
	}
	for _, path := range []string{"meshConfig", "values.meshConfig"} {
		if unknown := unknownSetting(lookupMap(c.flagged, path)); unknown != "" {
			c.mesh.Problems = append(c.mesh.Problems, manifest.Problem{
				Kind: manifest.UnknownField, Message: fmt.Sprintf("--set %s: %s: it is ignored and decides nothing", path, unknown)})
		}
	}
	c.flagObject = manifest.Implied("install.istio.io/v1alpha1", "IstioOperator", "", flagName, "the command line says so", nil, "")
}

func (c *configuring) wrongFlag(text string) {
	c.mesh.Problems = append(c.mesh.Problems, manifest.Problem{
		Kind: manifest.Unreadable, Message: printable(text), Help: "the flag is left out of the analysis"})
}

// flagsFor returns the flags that are meant for a revision.
func (c *configuring) flagsFor(revision string) []string {
	if r := lookupString(c.flagged, "revision"); r != "" && revisionName(r) != revision {
		return nil
	}
	return c.flags
}

// applyFlags puts the flags on top of a mesh configuration and its values.
func (c *configuring) applyFlags(config *MeshConfig, fields *map[string]any, flags []string) {
	if len(flags) == 0 {
		return
	}
	config.flagValues, config.flagObject = lookupMap(c.flagged, "values"), c.flagObject
	var origins []origin
	for _, path := range []string{"values.meshConfig", "meshConfig"} {
		if m := lookupMap(c.flagged, path); m != nil {
			origins = append(origins, origin{object: c.flagObject, prefix: "spec." + path, fields: m})
		}
	}
	// A profile that a flag names adds its mesh configuration where no result
	// of an installation is at hand.
	if config.Source == nil {
		in := operatorInstallation(c.flagObject, map[string]any{}, "", c.flags)
		*fields = in.mesh
		origins = in.origins
		if config.Values == nil {
			config.Values, config.ValuesSource, config.ValuesPrefix = in.values, c.flagObject, "spec.values"
		}
		if config.Environment == nil {
			config.Environment, config.environmentAt = in.environment, in.environmentAt
		}
		c.takeNotes(in)
	} else if config.Source.Kind == "IstioOperator" {
		// It has taken them already.
	} else if tree, err := applyFlags(map[string]any{"spec": map[string]any{
		"meshConfig": *fields, "values": config.Values,
	}}, flags); err != nil {
		c.wrongFlag(fmt.Sprintf("--set on top of %s: %s", title(config.Source), err))
		return
	} else {
		spec := asMap(tree["spec"])
		*fields = overlay(lookupMap(spec, "meshConfig"), lookupMap(c.flagged, "values.meshConfig"))
		if lookupMap(c.flagged, "values") != nil {
			config.Values = lookupMap(spec, "values")
			if config.ValuesSource == nil {
				config.ValuesSource, config.ValuesPrefix = c.flagObject, "spec.values"
			}
		}
	}
	config.origins = append(origins, config.origins...)
	c.flagEnvironment(config)
}

// unknownSetting names a field that the mesh configuration does not have, ""
// where all are known.
func unknownSetting(fields map[string]any) string {
	data, err := json.Marshal(fields)
	if err != nil || protomarshal.UnmarshalAllowUnknown(data, &meshconfig.MeshConfig{}) != nil {
		return "" // what is wrong with it is said elsewhere
	}
	if err := protomarshal.Unmarshal(data, &meshconfig.MeshConfig{}); err != nil {
		return printable(err.Error())
	}
	return ""
}
