package gpu

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

// Warm compiles, several at a time, the kernels that programs need on a device,
// and keeps them in o.CacheDir, where New finds them. plan is called with a
// backend that can compile operators, as engine.Graph.Explain has it do, and
// nothing else; the device of d's architecture and multiprocessors need not be
// there, and no driver either. The folder may be carried to a machine that has
// the same version of NVRTC. It returns how many kernels were compiled, and how
// many were there already.
func Warm(ctx context.Context, o Options, d cuda.Device, plan func(b engine.Backend) error) (compiled, kept int, err error) {
	sources, err := Sources(o, d, plan)
	if err != nil {
		return 0, 0, err
	}
	if o.CacheDir == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return 0, 0, fmt.Errorf("compiling kernels: %w", err)
		}
		o.CacheDir = filepath.Join(dir, "potstill")
	}
	return cuda.Precompile(ctx, cuda.Options{Search: o.Search, CacheDir: o.CacheDir, Logger: o.Logger}, d.Major*10+d.Minor, sources)
}

// Sources returns what Warm compiles: each source with the macros of a variant,
// in a fixed order.
func Sources(o Options, d cuda.Device, plan func(b engine.Backend) error) ([]cuda.Source, error) {
	b := &Backend{options: o, log: slog.New(slog.DiscardHandler), device: d, source: kernels.Source, products: make(map[string]lowering),
		cutsFrom: cutsFrom, wanted: make(map[sourceKey]bool)}
	if err := plan(b); err != nil {
		return nil, err
	}
	for _, key := range []sourceKey{{"check", ""}, {"check", "-DBF16"}, {"noise", ""}} {
		b.wanted[key] = true
	}
	keys := slices.SortedFunc(maps.Keys(b.wanted), func(x, y sourceKey) int {
		return cmp.Or(cmp.Compare(x.source, y.source), cmp.Compare(x.defines, y.defines))
	})
	var sources []cuda.Source
	for _, key := range keys {
		text, err := kernels.Source(key.source)
		if err != nil {
			return nil, err
		}
		sources = append(sources, cuda.Source{Name: key.source, Text: text, Options: strings.Fields(key.defines)})
	}
	return sources, nil
}

// wantLayouts adds what stands round a library's product: which library does
// what is known on the card alone.
func (b *Backend) wantLayouts(op engine.Op, in, out []engine.Spec) {
	act := engine.Identity
	if c, ok := op.(engine.Conv2D); ok {
		act = c.Epilogue.Act
	}
	want := func(source string, defines ...string) { _, _ = b.function(source, "", defines...) } // which cannot fail here
	for _, s := range slices.Concat(in, out) {
		want("layout", typeDefines(s.DType)...)
		want("weights", typeDefines(s.DType)...)
	}
	want("layout", actDefines(act, typeDefines(out[0].DType)...)...)
}
