package bridge

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
)

// An UnsupportedError names a node that Compile cannot translate, its operator
// and the reason. It wraps engine.ErrUnsupported.
type UnsupportedError struct {
	Node   string // the node's name, or how Gorgonia prints it
	Op     string // Go's name for the operator's type; "input" for inputs
	Reason string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("node %s, operator %s: %s", e.Node, e.Op, e.Reason)
}

// Unwrap returns engine.ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return engine.ErrUnsupported }

// refuse returns the UnsupportedError of a node.
func refuse(n *G.Node, format string, args ...any) error {
	return &UnsupportedError{Node: describe(n), Op: opName(n), Reason: fmt.Sprintf(format, args...)}
}

// An IdentityError says that a node of the graph is, or may be, several nodes
// that Gorgonia has taken for one, or that its operator, inputs and shape do
// not fit together. See the package comment on identity.
type IdentityError struct {
	Node   string
	Reason string
}

func (e *IdentityError) Error() string { return fmt.Sprintf("node %s: %s", e.Node, e.Reason) }

func merged(n *G.Node, format string, args ...any) error {
	return &IdentityError{Node: describe(n), Reason: fmt.Sprintf(format, args...)}
}
