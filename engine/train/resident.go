package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/wire"
)

// A resident is the training set on the device. Steps then begin with
// engine.Augment, and the loader only draws what it is to do.
type resident struct {
	images, table *engine.Variable
	op            engine.Augment
}

// residentShare is the part of the free memory, one of so many, that the
// training set may take; the rest is for the net.
const residentShare = 4

// uploadBytes is how much of the training set is sent at a time.
const uploadBytes = 4 << 20

// place decides where the training images are augmented, and takes them to the
// device if it is there: else the result is nil. What speaks against the device
// is logged, it is not an error: the images are the same, to the bit.
func place(s *data.Split, c Config, store *engine.Store, log *slog.Logger) *resident {
	b := store.Backend()
	r, why := fitting(s, c, b)
	if why == nil {
		why = r.upload(s, c.Train, store)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if why == nil {
		log.Info("training images are augmented on the device", "device", b.Name(),
			"images", s.Len(), "memory", engine.HumanBytes(r.images.Bytes()))
		return r
	}
	level := slog.LevelInfo
	if _, ok := b.(engine.Metered); !ok { // it has no memory of its own: nobody expects it
		level = slog.LevelDebug
	}
	log.Log(context.Background(), level, "training images are augmented on the host", "why", why)
	return nil
}

// fitting returns the training set as it would be on the device, or why the
// device cannot augment the images.
func fitting(s *data.Split, c Config, b engine.Backend) (*resident, error) {
	h, w, same := s.Uniform()
	switch {
	case c.HostAugment:
		return nil, errors.New("as asked for")
	case c.MixupAlpha > 0:
		return nil, errors.New("mixup is done there")
	case c.CutMixAlpha > 0:
		return nil, errors.New("CutMix is done there")
	case len(c.Objective.Views()) > 0:
		return nil, errors.New("they are prepared in several ways")
	case !same:
		return nil, errors.New("the images have several sizes")
	case !c.Train.OnDevice(h, w):
		return nil, errors.New("the transform scales them, changes their perspective, erases parts of them, has RandAugment, or makes them gray")
	}
	m, ok := b.(engine.Metered)
	if !ok {
		return nil, fmt.Errorf("%s has no memory of its own", b.Name())
	}
	free, _, err := m.Memory()
	if err != nil {
		return nil, err
	}
	oh, ow := c.Train.OutSize(h, w)
	r := &resident{
		images: &engine.Variable{Name: "training images", Spec: engine.Spec{Shape: []int{s.Len(), h, w, 3}, DType: engine.Uint8}},
		table:  &engine.Variable{Name: "training images' values", Spec: engine.AugmentTable},
		op:     engine.Augment{Height: oh, Width: ow, Jitter: c.Train.Jitter != nil},
	}
	if n := r.images.Bytes(); n > free/residentShare {
		return nil, fmt.Errorf("they take %s, more than a quarter of the %s that are free on %s", engine.HumanBytes(n), engine.HumanBytes(free), b.Name())
	}
	in := []engine.Spec{r.images.Spec, indexSpec(c.Batch), paramsSpec(c.Batch), r.table.Spec}
	out, err := r.op.Infer(in)
	if err == nil {
		_, err = b.Compile(r.op, in, out)
	}
	return r, err
}

func paramsSpec(n int) engine.Spec {
	return engine.Spec{Shape: []int{n, wire.AugmentParams}, DType: engine.Uint32}
}

// upload takes the training set to the device. Where that fails, nothing of it
// stays there.
func (r *resident) upload(s *data.Split, t data.Transform, store *engine.Store) error {
	err := store.Set(r.table, engine.Bytes(t.Table()))
	var part []byte
	sent := 0
	for i := 0; i < s.Len() && err == nil; i++ {
		part = append(part, s.Image(i).Pix...)
		if len(part) >= uploadBytes || i == s.Len()-1 {
			err = store.SetPart(r.images, sent, part)
			sent, part = sent+len(part), part[:0]
		}
	}
	if err != nil {
		err = errors.Join(err, r.evict(store))
	}
	return err
}

// evict frees what the training set takes of the device. It may be called on nil.
func (r *resident) evict(store *engine.Store) error {
	if r == nil {
		return nil
	}
	return errors.Join(store.Free(r.images), store.Free(r.table))
}
