package cuda

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestErrorNamesCallAndCode(t *testing.T) {
	err := &Error{"cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY", 2, "out of memory"}
	if got, want := err.Error(), "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(fmt.Errorf("arena: %w", err), ErrOutOfMemory) {
		t.Error("out of memory is not found")
	}
	// Number 2 of another library means something else.
	if errors.Is(&Error{"cudnnCreate", "CUDNN_STATUS_NOT_INITIALIZED", 2, ""}, ErrOutOfMemory) {
		t.Error("any 2 is out of memory")
	}
}

func TestFirstError(t *testing.T) {
	for _, c := range []struct{ log, want string }{
		{"k.cu(3): warning #177-D: unused\n  int i;\n\nk.cu(9): error: identifier \"x\" is undefined\n  x = 1;\nk.cu(10): error: another\n", `k.cu(9): error: identifier "x" is undefined`},
		{"k.c:1:2: warning: w\r\nk.c:3:4: fatal error: no\n", "k.c:3:4: fatal error: no"},
		{"  nvrtc: error: unrecognized option --x found\n", "nvrtc: error: unrecognized option --x found"},
		{"\n\nsomething else\nmore", "something else"},
		{"", ""},
		{"error: " + strings.Repeat("é", 400), "error: " + strings.Repeat("é", 293) + "…"},
	} {
		if got := firstError(c.log); got != c.want {
			t.Errorf("firstError(%q) = %q, want %q", c.log, got, c.want)
		}
	}
}
