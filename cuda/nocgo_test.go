//go:build !linux || !cgo

package cuda

import (
	"errors"
	"strings"
	"testing"
)

func TestLoadWithoutCgo(t *testing.T) {
	d, err := Load(Options{})
	if d != nil || !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "built without cgo") {
		t.Errorf("Load returns %v, %v", d, err)
	}
	for _, l := range Libraries(Options{}) {
		if !errors.Is(l.Err, ErrNotFound) || l.Fix == "" || l.Path != "" {
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
}
