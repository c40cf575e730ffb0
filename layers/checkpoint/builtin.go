package checkpoint

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// BuiltinPrefix begins the names of the models that the program holds. They are
// taken where the path of a model's file is:
//
//	builtin:fashion-resnet18  a ResNet-18 of a quarter of the width, that was trained on the
//	                          54,000 training images of Fashion-MNIST that builtin:fashion
//	                          (package data) does not hold; it sees them at 56×56 pixels
//
// builtin/README.md says how they were made.
const BuiltinPrefix = "builtin:"

//go:embed builtin/*.safetensors
var builtin embed.FS

// Builtin returns the names of the built-in models.
func Builtin() []string {
	files, _ := fs.Glob(builtin, "builtin/*") // the pattern is sound
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = BuiltinPrefix + strings.TrimSuffix(strings.TrimPrefix(f, "builtin/"), ".safetensors")
	}
	return names
}

// openFile opens the file of a model at path, or a built-in one.
func openFile(path string) (fs.File, error) {
	if name, ok := strings.CutPrefix(path, BuiltinPrefix); ok {
		f, err := builtin.Open("builtin/" + name + ".safetensors")
		if err != nil {
			return nil, fmt.Errorf("no such built-in model; there are %s", strings.Join(Builtin(), ", "))
		}
		return f, nil
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file; name a model's file")
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// readBuiltin is read for a built-in model.
func readBuiltin(path string) (*safetensors.File, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return safetensors.Decode(b)
}

// sizeOf returns how many bytes the file at path has, 0 where it cannot be opened.
func sizeOf(path string) int64 {
	f, err := openFile(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
