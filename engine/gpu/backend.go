package gpu

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

// ErrLost is what every call returns once the device has failed: a fault of a
// kernel, of the memory or of the card itself, after which the driver refuses
// this process. It arrives wrapped with the driver's reason.
var ErrLost = errors.New("the device is lost")

// Options say which card is used and how.
type Options struct {
	// Device is the card's number, as the driver counts them.
	Device int
	// TF32 lets cuDNN and cuBLASLt round the operands of float32 products to
	// ten bits of mantissa, for speed.
	TF32 bool
	// Deterministic restricts the choice to implementations that give the same
	// bits at every run.
	Deterministic bool
	// NoLibraries leaves everything to kernels of ours.
	NoLibraries bool
	// CacheDir is where compiled kernels and measured times are kept; empty
	// means the folder potstill in the user's cache.
	CacheDir string
	// Search are folders in which the libraries are looked for before all
	// others (see package cuda).
	Search []string
	// Foreign has the backend work in a context of other code of this process;
	// Device is then that context's. Nil means the card's primary context.
	Foreign *Foreign
	// Logger hears what is found and chosen; nil means nobody.
	Logger *slog.Logger
}

// A Backend runs kernels on one card, in one stream. Its methods must not be
// called at the same time.
type Backend struct {
	options Options
	log     *slog.Logger
	driver  *cuda.Driver
	ctx     *cuda.Context
	device  cuda.Device
	stream  *cuda.Stream
	source  func(name string) (string, error) // kernels.Source, but for tests
	modules map[sourceKey]*cuda.Module

	dnn  *cuda.DNN  // nil where there is none
	blas *cuda.BLAS // likewise

	products  map[string]lowering // of lowerProduct
	closers   []func() error      // what the lowerings hold
	memory    *memory             // times of earlier runs
	choices   []Choice
	timed     time.Time // when something was timed last
	cutsFrom  int       // cutsFrom, but for tests
	forced    int       // for tests: takes the forced-th candidate, counted from one
	most      int       // for tests: candidates that an op had at most
	prefers   []string  // for tests: takes the first candidate whose name begins so, in this order
	capturing bool      // in Record
	enqueued  int       // kernels, since the backend was made

	peers *Peers // nil where there are no other ranks

	helpers *helpers // that copy large inputs, nil before the first such

	flag cuda.Ptr // of AllFinite: a word, 0 before the first call

	wanted map[sourceKey]bool // of Warm: what would be compiled; nil in a backend that has a device

	slabs              []cuda.Ptr // of counters, the last of which has slabLeft words that are not given out
	slabLeft, slabSize int

	live   map[*buffer]struct{}
	graphs map[*recording]struct{}
	lost   error // wraps ErrLost
	closed bool
}

var (
	_ engine.Recorder       = (*Backend)(nil)
	_ engine.Fuser          = (*Backend)(nil)
	_ engine.MixedPrecision = (*Backend)(nil)
	_ engine.Preparer       = (*kernel)(nil)
)

// New opens a card. The error wraps engine.ErrNoDevice where there is no
// driver, no such card, or no NVRTC to compile kernels with.
func New(o Options) (*Backend, error) {
	if o.CacheDir == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			o.CacheDir = filepath.Join(dir, "potstill")
		}
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Backend{options: o, log: log, source: kernels.Source, modules: make(map[sourceKey]*cuda.Module), products: make(map[string]lowering),
		cutsFrom: cutsFrom, live: make(map[*buffer]struct{}), graphs: make(map[*recording]struct{})}
	if err := b.open(); err != nil {
		err = fmt.Errorf("%s: %w", b.Name(), err)
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// open finds the libraries, the card and what was measured on it before.
func (b *Backend) open() error {
	var err error
	b.driver, err = cuda.Load(cuda.Options{Search: b.options.Search, CacheDir: b.options.CacheDir, Logger: b.options.Logger})
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNoDevice, err)
	}
	if b.options.Foreign != nil {
		err = b.adopt()
	} else {
		err = b.openDevice()
	}
	if err != nil {
		return err
	}
	b.device = b.ctx.Device()
	if _, err := b.ctx.NVRTC(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNoDevice, err)
	}
	b.openLibraries()
	b.memory = openMemory(b.options.CacheDir, b.identity(), b.log)
	return nil
}

// openDevice makes a context of the card, and a stream.
func (b *Backend) openDevice() error {
	devices, err := b.driver.Devices()
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNoDevice, err)
	}
	if n := b.options.Device; n < 0 || n >= len(devices) {
		return fmt.Errorf("%w: there are %d", engine.ErrNoDevice, len(devices))
	}
	if b.ctx, err = b.driver.Open(b.options.Device); err != nil {
		return b.wrap(fmt.Errorf("opening the device: %w", err))
	}
	if b.stream, err = b.ctx.NewStream(); err != nil {
		return b.wrap(fmt.Errorf("making a stream: %w", err))
	}
	return nil
}

// Name returns "cuda:" and the card's number.
func (b *Backend) Name() string { return fmt.Sprintf("cuda:%d", b.options.Device) }

// Device describes the card.
func (b *Backend) Device() cuda.Device { return b.device }

// Libraries says which libraries were found, and where.
func (b *Backend) Libraries() []cuda.Library { return b.driver.Libraries() }

// multiprocessors returns how many of them the card has.
func (b *Backend) multiprocessors() int { return max(b.device.Multiprocessors, 1) }

// usable returns why nothing can be done any more, nil if something can.
func (b *Backend) usable() error {
	switch {
	case b.closed:
		return errClosed
	case b.lost != nil:
		return b.lost
	}
	return b.peers.gone()
}

// ended reports whether nothing can be computed any more, for the device is lost or another rank
// is gone. What is closed then returns no error.
func (b *Backend) ended() bool { return b.lost != nil || b.peers.gone() != nil }

var errClosed = errors.New("the backend is closed")

// wrap gives an error of the driver its sentinel, and keeps it if the device
// is lost. Where another rank is gone it returns that.
func (b *Backend) wrap(err error) error {
	if gone := b.peers.gone(); gone != nil { // whatever it was, it has ended because of this
		return gone
	}
	if err == nil { // and nothing is allocated
		return nil
	}
	var e *cuda.Error
	switch {
	case errors.Is(err, ErrLost):
		return err
	case b.lost != nil: // what was the cause is known
		return b.lost
	case errors.As(err, &e) && fatal(e):
		b.lost = fmt.Errorf("%w: %w", ErrLost, err)
		b.log.Debug("the device is lost", "device", b.Name(), "reason", err)
		return b.lost
	case errors.Is(err, cuda.ErrOutOfMemory) && !errors.Is(err, engine.ErrOutOfMemory):
		return fmt.Errorf("%w: %w", engine.ErrOutOfMemory, err)
	}
	return err
}

// fatal reports whether a code of the driver means that no further call will
// succeed in this process.
func fatal(e *cuda.Error) bool {
	switch e.Code {
	case "CUDA_ERROR_DEINITIALIZED", "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA_ERROR_ECC_UNCORRECTABLE", "CUDA_ERROR_NVLINK_UNCORRECTABLE",
		"CUDA_ERROR_CONTAINED", "CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_LAUNCH_TIMEOUT", "CUDA_ERROR_CONTEXT_IS_DESTROYED",
		"CUDA_ERROR_ASSERT", "CUDA_ERROR_HARDWARE_STACK_ERROR", "CUDA_ERROR_ILLEGAL_INSTRUCTION", "CUDA_ERROR_MISALIGNED_ADDRESS",
		"CUDA_ERROR_INVALID_ADDRESS_SPACE", "CUDA_ERROR_INVALID_PC", "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_TENSOR_MEMORY_LEAK",
		"CUDA_ERROR_EXTERNAL_DEVICE", "CUDA_ERROR_SYSTEM_NOT_READY", "CUDA_ERROR_UNKNOWN":
		return true
	}
	return false
}

// Sync waits for everything enqueued. A device that was lost meanwhile shows
// here, and in every call after.
func (b *Backend) Sync() error {
	if err := b.usable(); err != nil {
		return err
	}
	if b.capturing {
		return errRecording
	}
	return b.wrap(b.stream.Sync())
}

// Close waits for the end of the work and frees all that the backend holds, its
// buffers and recordings too. Where the device is lost or another rank is gone, which earlier
// calls have reported, it returns nil.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	var errs []error
	do := func(f func() error) { errs = append(errs, f()) }
	if b.helpers != nil {
		do(b.helpers.close)
	}
	if b.stream != nil {
		do(b.stream.Sync)
	}
	for r := range b.graphs {
		do(r.free)
	}
	for m := range b.live {
		do(m.free)
	}
	for _, f := range b.closers {
		do(f)
	}
	if b.peers != nil {
		do(b.peers.close)
	}
	if b.flag != 0 {
		do(func() error { return b.ctx.Free(b.flag) })
	}
	for _, p := range b.slabs {
		do(func() error { return b.ctx.Free(p) })
	}
	b.closeLibraries(do)
	for _, m := range b.modules {
		do(m.Close)
	}
	if b.stream != nil {
		do(b.stream.Close)
	}
	if b.ctx != nil {
		do(b.ctx.Close)
	}
	if b.ended() {
		return nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing %s: %w", b.Name(), b.wrap(err))
	}
	return nil
}
