package manifest
type source struct{}
// At returns the position of the value at a field path...
func (o *Object) At(field string) Position { return Position{} }
