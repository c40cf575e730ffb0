//go:build !cgo

package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

func TestWithoutCgo(t *testing.T) {
	_, err := New(Options{})
	if !errors.Is(err, engine.ErrNoDevice) || !strings.Contains(err.Error(), "built without cgo") {
		t.Errorf("New gives %v", err)
	}
}
