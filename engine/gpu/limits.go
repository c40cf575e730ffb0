package gpu

import (
	"errors"
	"time"

	"github.com/potstill/potstill/engine"
)

// MeasureCopy returns how long the device takes to copy so many bytes within
// its memory: the shortest of several times, of a copy that the driver itself
// makes. It is the limit that kernels bound by memory are held to.
func (b *Backend) MeasureCopy(bytes int) (shortest time.Duration, err error) {
	if err := b.usable(); err != nil {
		return 0, err
	}
	t := &bench{b: b}
	defer func() { err = errors.Join(b.wrap(err), t.close()) }()
	src, err := t.alloc(bytes)
	if err != nil {
		return 0, err
	}
	dst, err := t.alloc(bytes)
	if err != nil {
		return 0, err
	}
	if t.from, err = b.ctx.NewEvent(); err != nil {
		return 0, err
	}
	if t.to, err = b.ctx.NewEvent(); err != nil {
		return 0, err
	}
	for range 1 + runsOfEach { // the first one warms up
		err = errors.Join(b.stream.Record(t.from), b.stream.Copy(dst, src, bytes), b.stream.Record(t.to), t.to.Sync())
		if err != nil {
			return 0, err
		}
		d, err := t.to.Since(t.from)
		if err != nil {
			return 0, err
		}
		if shortest == 0 || d < shortest {
			shortest = d
		}
	}
	return shortest, nil
}

// ChoiceFor returns what was chosen for an op on these specs; false where it has
// one implementation only, or was not compiled.
func (b *Backend) ChoiceFor(op engine.Op, in, out []engine.Spec) (Choice, bool) {
	key := choiceKey(op, in, out)
	for _, c := range b.choices {
		if c.key == key {
			return c, true
		}
	}
	return Choice{}, false
}
