package flow

import "encoding/json"

// MarshalJSON gives position, kind, name and field. Objects that no file holds
// (implied by a flag or a profile) have no position but say what implies them.
func (b Because) MarshalJSON() ([]byte, error) {
	out := struct {
		Position string `json:"position,omitempty"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
		Field    string `json:"field,omitempty"`
		Implied  string `json:"implied,omitempty"`
	}{Kind: b.Object.Kind, Name: b.Object.ID(), Field: b.Field, Implied: b.Object.Implied}
	if p := b.Object.At(b.Field); !p.IsZero() {
		out.Position = p.String()
	}
	return json.Marshal(out)
}
