package checkpoint

import (
	"strings"
	"testing"
)

// TestBuiltin opens every built-in model, and one that there is not.
func TestBuiltin(t *testing.T) {
	names := Builtin()
	if len(names) == 0 {
		t.Fatal("there is no built-in model")
	}
	for _, name := range names {
		i, err := Inspect(name, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := i.Checkpoint
		if c.Path != name || c.Bytes < 1000 || len(c.Classes) == 0 || !c.Declares() || len(i.SHA256) != 64 || len(i.Parts) == 0 || !i.Sealed {
			t.Errorf("%s: %d bytes, classes %v, preprocessing %+v, sum %q", c.Path, c.Bytes, c.Classes, c.Preprocess, i.SHA256)
		}
		loaded, err := Load(name)
		if err != nil || loaded.Bytes != c.Bytes {
			t.Errorf("Load: %v", err)
		}
	}
	_, err := Open(BuiltinPrefix+"no-such", OpenOptions{})
	if err == nil || !strings.Contains(err.Error(), names[0]) || strings.Contains(err.Error(), "\n") {
		t.Errorf("no such model: %v", err)
	}
}
