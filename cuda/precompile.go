//go:build linux && cgo

package cuda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// Precompile compiles sources for an architecture, such as 90, and keeps what
// comes of it in Options.CacheDir, as Context.Compile does; several are compiled
// at a time. It needs NVRTC, but neither a driver nor a device: the folder serves
// on another machine that has the same version of NVRTC. It returns how many
// were compiled, and how many were there already. The error joins those of all
// sources that do not compile.
func Precompile(ctx context.Context, o Options, arch int, sources []Source) (compiled, kept int, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	major := 0
	if d, err := Load(o); err == nil { // NVRTC must not be newer than a driver that is there
		major = d.version / 1000
	}
	c, err := newCompiler(newLoader(folders(o.Search, os.Getenv), major), cache{o.CacheDir}, o.Logger)
	if err != nil {
		return 0, 0, fmt.Errorf("cuda: %w", err)
	}
	c = c.of(arch)
	var (
		wg         sync.WaitGroup
		next       atomic.Int64
		made, have atomic.Int64
		errs       = make([]error, len(sources))
	)
	for range min(runtime.GOMAXPROCS(0), len(sources)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(sources) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				s := sources[i]
				_, old, err := c.cubin(s.Name, s.Text, arch, s.Options, false)
				switch {
				case err != nil:
					errs[i] = fmt.Errorf("cuda: cannot compile %s %v: %w", s.Name, s.Options, err)
				case old:
					have.Add(1)
				default:
					made.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(made.Load()), int(have.Load()), errors.Join(append(errs, ctx.Err())...)
}
