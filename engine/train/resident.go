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
// device if it is there. What speaks against the device is logged, it is not an
// error: the images are the same, to the bit.
func (t *Trainer) place() {
	b := t.store.Backend()
	why := t.unfit()
	if why == nil {
		why = t.upload()
	}
	if t.hooks.Logger == nil {
		return
	}
	if why == nil {
		t.hooks.Logger.Info("training images are augmented on the device", "device", b.Name(),
			"images", t.ds.Train.Len(), "memory", engine.HumanBytes(t.resident.images.Bytes()))
		return
	}
	level := slog.LevelInfo
	if _, ok := b.(engine.Metered); !ok { // it has no memory of its own: nobody expects it
		level = slog.LevelDebug
	}
	t.hooks.Logger.Log(context.Background(), level, "training images are augmented on the host", "why", why)
}

// unfit says why the device cannot augment the images, nil if it can. It sets
// t.resident.
func (t *Trainer) unfit() error {
	b, tr := t.store.Backend(), t.c.Train
	h, w, same := t.ds.Train.Uniform()
	switch {
	case t.c.HostAugment:
		return errors.New("as asked for")
	case t.c.MixupAlpha > 0 || t.c.CutMixAlpha > 0:
		return errors.New("mixup and CutMix are done there")
	case !same:
		return errors.New("the images have several sizes")
	case !tr.OnDevice(h, w):
		return errors.New("the transform scales them, changes their perspective, erases parts of them, or has RandAugment")
	}
	m, ok := b.(engine.Metered)
	if !ok {
		return fmt.Errorf("%s has no memory of its own", b.Name())
	}
	free, _, err := m.Memory()
	if err != nil {
		return err
	}
	oh, ow := tr.OutSize(h, w)
	r := &resident{
		images: &engine.Variable{Name: "training images", Spec: engine.Spec{Shape: []int{t.ds.Train.Len(), h, w, 3}, DType: engine.Uint8}},
		table:  &engine.Variable{Name: "training images' values", Spec: engine.AugmentTable},
		op:     engine.Augment{Height: oh, Width: ow, Jitter: tr.Jitter != nil},
	}
	if n := r.images.Bytes(); n > free/residentShare {
		return fmt.Errorf("they take %s, more than a quarter of the %s that are free on %s", engine.HumanBytes(n), engine.HumanBytes(free), b.Name())
	}
	in := []engine.Spec{r.images.Spec, indexSpec(t.c.Batch), paramsSpec(t.c.Batch), r.table.Spec}
	out, err := r.op.Infer(in)
	if err == nil {
		_, err = b.Compile(r.op, in, out)
	}
	if err != nil {
		return err
	}
	t.resident = r
	return nil
}

func indexSpec(n int) engine.Spec { return engine.Spec{Shape: []int{n}, DType: engine.Uint32} }

func paramsSpec(n int) engine.Spec {
	return engine.Spec{Shape: []int{n, wire.AugmentParams}, DType: engine.Uint32}
}

// upload takes the training set to the device. Where that fails, nothing of it
// stays there.
func (t *Trainer) upload() error {
	r, s := t.resident, t.ds.Train
	err := t.store.Set(r.table, engine.Bytes(t.c.Train.Table()))
	var part []byte
	sent := 0
	for i := 0; i < s.Len() && err == nil; i++ {
		part = append(part, s.Image(i).Pix...)
		if len(part) >= uploadBytes || i == s.Len()-1 {
			err = t.store.SetPart(r.images, sent, part)
			sent, part = sent+len(part), part[:0]
		}
	}
	if err != nil {
		err = errors.Join(err, t.evict())
	}
	return err
}

// evict frees what the training set takes of the device.
func (t *Trainer) evict() error {
	r := t.resident
	if r == nil {
		return nil
	}
	t.resident = nil
	return errors.Join(t.store.Free(r.images), t.store.Free(r.table))
}

// source writes down where a step's images come from.
func (t *Trainer) source(b *engine.Builder, p *program, k stepKey) *engine.Value {
	r := t.resident
	if r == nil {
		p.images = b.Input("images", engine.F32(k.n, k.h, k.w, k.c))
		return p.images
	}
	defer b.Scope("augment")()
	p.index, p.params = b.Input("index", indexSpec(k.n)), b.Input("params", paramsSpec(k.n))
	return b.One(r.op, b.Variable(r.images), p.index, p.params, b.Variable(r.table))
}

// bind gives the program a batch.
func (p *program) bind(b *data.Batch) {
	if p.images != nil {
		p.In[p.images] = engine.Bytes(b.Images)
	} else {
		p.In[p.index], p.In[p.params] = engine.Bytes(b.Numbers), engine.Bytes(b.Params)
	}
	p.In[p.Target] = engine.Bytes(b.Targets)
}
