package fake_test

import (
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	if err := fake.Build(dir); err != nil {
		t.Fatal(err)
	}
}
