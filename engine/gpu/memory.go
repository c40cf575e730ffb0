package gpu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine/atomicfile"
)

// memoryName is the file in Options.CacheDir that keeps measured times.
const memoryName = "choices.json"

// memoryVersion is the number of the file's format.
const memoryVersion = 1

// A memoryFile is the file's content: by card and versions, by op and specs, the
// times of every implementation.
type memoryFile struct {
	Version int                            `json:"version"`
	Cards   map[string]map[string][]Timing `json:"cards"`
}

// A memory remembers times from run to run. Several processes may share its
// file: each writes the whole of it in one step, with what it finds there at
// that time; where two do so at once, one's times are lost and measured again.
type memory struct {
	path string // empty: nothing is kept beyond this process
	card string
	mine map[string][]Timing
	log  *slog.Logger
}

// openMemory reads the file of a folder; without a folder, or without a file
// that can be read, there is nothing in the memory.
func openMemory(dir, card string, log *slog.Logger) *memory {
	m := &memory{card: card, mine: make(map[string][]Timing), log: log}
	if dir == "" {
		return m
	}
	m.path = filepath.Join(dir, memoryName)
	f, err := m.read()
	if err != nil {
		m.log.Warn("the file of measured times cannot be used, it will be written anew", "file", m.path, "reason", err)
	}
	if f.Cards[card] != nil {
		m.mine = f.Cards[card]
	}
	return m
}

// read returns the file, an empty one where there is none or, with the reason,
// a broken one.
func (m *memory) read() (memoryFile, error) {
	empty := memoryFile{Version: memoryVersion, Cards: make(map[string]map[string][]Timing)}
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var f memoryFile
	if err := json.Unmarshal(text, &f); err != nil {
		return empty, err
	}
	if f.Version != memoryVersion || f.Cards == nil {
		return empty, fmt.Errorf("format %d with %d cards, where %d is wanted", f.Version, len(f.Cards), memoryVersion)
	}
	return f, nil
}

// get returns what was measured under key, nil if nothing was.
func (m *memory) get(key string) []Timing { return m.mine[key] }

// put keeps what was measured under key.
func (m *memory) put(key string, t []Timing) {
	m.mine[key] = t
	if m.path == "" {
		return
	}
	if err := m.write(); err != nil {
		m.log.Warn("measured times cannot be kept", "file", m.path, "reason", err)
	}
}

// write replaces the file by what it holds now and what this process knows.
func (m *memory) write() error {
	f, _ := m.read() // what is broken is replaced
	if f.Cards[m.card] == nil {
		f.Cards[m.card] = make(map[string][]Timing)
	}
	for k, t := range m.mine {
		f.Cards[m.card][k] = t
	}
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(m.path, append(text, '\n'), 0o644)
}

// identity names all that times depend on beside op and specs: the card, the
// driver, the libraries, NVRTC's version among them, our kernels, and whether
// products are rounded.
func (b *Backend) identity() string {
	nvrtc, _ := b.ctx.NVRTC() // it was there when the backend was opened
	d := b.device
	parts := []string{d.Name, fmt.Sprintf("compute %d.%d", d.Major, d.Minor), fmt.Sprintf("driver %d.%d", d.Driver/1000, d.Driver%1000/10), "nvrtc " + nvrtc}
	if b.dnn != nil { // which may be another than the driver's other devices have
		parts = append(parts, "cudnn "+b.dnn.Version())
	}
	if b.blas != nil {
		parts = append(parts, "cublasLt "+b.blas.Version())
	}
	if b.options.TF32 {
		parts = append(parts, "TF32")
	}
	return strings.Join(append(parts, "kernels "+kernelsHash()), ", ")
}

// kernelsHash tells one set of kernel sources from another.
func kernelsHash() string {
	h := sha256.New()
	for _, name := range kernels.Names() {
		if text, err := kernels.Source(name); err == nil {
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
