// Package backendtest is the one suite that every backend passes. A backend's
// own tests are two lines:
//
//	func TestBackend(t *testing.T)  { backendtest.Run(t, b) }
//	func TestPrograms(t *testing.T) { backendtest.RunPrograms(t, b, backendtest.Small) }
//
// Every operator is run on a table of shapes and held, element by element, to
// package ref: |got - want| ≤ C·√K·ε·Mag, with K and Mag as ref.Array defines
// them. All tensors of a case and its workspace lie in one buffer, at offsets
// that are multiples of 64, between guard zones of NaNs; outputs and workspace
// start as NaNs too, so that an element that is not written, a read beyond a
// tensor's end and a workspace that is believed to be clean all show. Inputs and
// guards must come back untouched. A second run, and a recording's replay, must
// give the same bits as the first run.
//
// RunPrograms holds whole steps of a small net to the reference: gradients,
// weights after several steps, a teacher's prepared weights, fused and unfused.
//
// To add an operator: write its table in a file of the operator's stem, and
// name it to register in that file's init.
package backendtest
