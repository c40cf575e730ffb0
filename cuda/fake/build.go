package fake

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed csrc
var sources embed.FS

// library is one of the stand-ins: its file's name, its sources by pattern, and
// the stand-ins it calls.
type library struct {
	file, pattern string
	needs         []string
	link          []string
}

// flags are those of every library.
var flags = []string{"-std=gnu11", "-O2", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra"}

var libraries = []library{
	{file: "libcuda.so.1", pattern: "cuda_*.c", link: []string{"-ldl", "-pthread"}},
	{file: "libnvrtc.so.12", pattern: "nvrtc.c", link: []string{"-ldl"}},
	{file: "libcudnn_graph.so.9", pattern: "part_graph.c"},
	{file: "libcudnn.so.9", pattern: "cudnn*.c", needs: []string{"libcuda.so.1"}, link: []string{"-lm"}},
	{file: "libcublasLt.so.12", pattern: "cublaslt*.c", needs: []string{"libcuda.so.1"}, link: []string{"-lm"}},
	{file: "libnccl.so.2", pattern: "nccl.c", needs: []string{"libcuda.so.1"}},
}

var errNoCompiler = errors.New("fake: no C compiler (install one, or name it in CC)")

// compiler returns $CC's words, or cc.
func compiler() []string {
	if words := strings.Fields(os.Getenv("CC")); len(words) > 0 {
		return words
	}
	return []string{"cc"}
}

// Build compiles the stand-ins into a directory, which it makes. The error holds
// the compiler's words. Directories may be shared: a file is complete when it
// has its name.
func Build(dir string) error {
	cc, err := exec.LookPath(compiler()[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errNoCompiler, err)
	}
	tmp, err := scratch(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, l := range libraries {
		if err := l.build(cc, tmp); err != nil {
			return err
		}
	}
	files := []string{"prelude.h"}
	for _, l := range libraries {
		files = append(files, l.file)
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(tmp, f), filepath.Join(dir, f)); err != nil {
			return fmt.Errorf("fake: %w", err)
		}
	}
	return nil
}

// scratch makes a directory within dir and writes the sources there.
func scratch(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("fake: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("fake: %w", err)
	}
	names, err := fs.Glob(sources, "csrc/*")
	for _, name := range names {
		var text []byte
		if text, err = sources.ReadFile(name); err == nil {
			err = os.WriteFile(filepath.Join(tmp, path.Base(name)), text, 0o644)
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("fake: %w", err), os.RemoveAll(tmp))
	}
	return tmp, nil
}

func (l library) build(cc, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, l.pattern))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("fake: %s has no sources like %s", l.file, l.pattern)
	}
	args := slices.Concat(compiler()[1:], flags, []string{"-I", dir, fmt.Sprintf("-DFAKE_VERSION=%d", version()),
		"-Wl,-soname,fake-" + l.file, // or whoever opens the real one by its name would get this
		"-o", filepath.Join(dir, l.file)}, names)
	for _, n := range l.needs {
		args = append(args, filepath.Join(dir, n), "-Wl,-rpath,$ORIGIN")
	}
	args = append(args, l.link...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("fake: %s of %s: %w\n%s", cc, l.file, err, out)
	}
	return nil
}

// digest is over all that the stand-ins are made from.
func digest() []byte {
	h := sha256.New()
	fmt.Fprintln(h, compiler(), flags, libraries)
	names, _ := fs.Glob(sources, "csrc/*") // the pattern is sound
	for _, name := range names {
		text, _ := sources.ReadFile(name) // embedded
		fmt.Fprintln(h, name, len(text))
		h.Write(text)
	}
	return h.Sum(nil)
}

// version is the minor version that the stand-in libnvrtc reports, less than a
// hundred as one is.
func version() int {
	d := digest()
	return (int(d[0])<<8 | int(d[1])) % 99
}

func key() string { return hex.EncodeToString(digest()[:8]) }
