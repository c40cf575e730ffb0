package data

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/potstill/potstill/engine/wire"
)

// LoaderOptions say how a split is batched.
type LoaderOptions struct {
	Batch   int       // images a batch; the whole split, if it has fewer
	Shuffle bool      // visit images in the order of Perm(Seed, epoch, n); else in the split's
	Augment Transform // what each image goes through
	// Views are further preparations of the same images, with the same random
	// choices: no random stages, but a Resize, Size, Mean and Std of their own.
	Views      []Transform
	Seed       uint64
	Workers    int     // goroutines that make batches; 0: GOMAXPROCS. Results do not depend on it.
	Prefetch   int     // batches made ahead of the one in use; 0: 4
	MixupAlpha float64 // mixup with λ ~ Beta(α, α) a batch (Zhang et al., 2018); 0: none
	CutMix     float64 // CutMix likewise (Yun et al., 2019); with mixup, each batch gets one of the two
	Balanced   bool    // draw every class as often, with replacement; takes the place of Shuffle
	// ClassWeights, if not nil, multiply the targets, one weight a class.
	ClassWeights []float32
	DropLast     bool // leave out a last batch that is not full
	// Part and Parts, if not 0, make of the batches from the first one of an epoch on
	// only every Parts-th, beginning with the one of number Part: the share of a rank.
	Part, Parts int
	Eval        bool // no random stages, whatever Augment says (see Transform)
	// OnDevice leaves the images to engine.Augment: batches have its inputs
	// instead. All images must have one size for which Augment is OnDevice, and
	// there are neither views nor mixup nor CutMix.
	OnDevice bool
}

// Loader makes the batches of a split. It may be used from one goroutine at a
// time; several of its epochs may run at once.
type Loader struct {
	s          *Split
	classes    int
	o          LoaderOptions
	h, w       int      // of the output
	views      [][3]int // height, width and channels of each view
	mu         sync.Mutex
	byClass    [][]int   // if Balanced
	free       [][]*slot // buffers of finished epochs
	freeOrders [][]int
}

// Batch is N images and their targets.
type Batch struct {
	N, H, W, C, Classes int
	Images              []float32 // layout NHWC, N·H·W·C values; nil if OnDevice
	Targets             []float32 // N·Classes: one-hot, or the mixture of two; times ClassWeights
	Labels              []int32   // N: the image's own class, also under mixup
	Index               []int     // N: the image's number in the split
	Numbers             []uint32  // N: Index, for the device
	// Views are the images as LoaderOptions.Views prepare them, layout NHWC each.
	Views [][]float32
	// Params say how engine.Augment makes the images, if OnDevice; else nil.
	Params []uint32 // N·wire.AugmentParams: see Transform.Draw

	viewShape [][3]int // height, width and channels of each view
}

// slot is one buffer of an epoch's ring.
type slot struct {
	b     Batch // capacity of a full batch
	ready chan struct{}
}

// NewLoader checks the options and returns a loader of s, whose labels are
// below classes.
func NewLoader(s *Split, classes int, o LoaderOptions) (*Loader, error) {
	if err := o.Augment.Validate(); err != nil {
		return nil, err
	}
	n := s.Len()
	switch {
	case o.Batch < 1:
		return nil, fmt.Errorf("data: batch of %d images: want at least 1", o.Batch)
	case n == 0:
		return nil, errors.New("data: no images to load")
	case s.st.form.resize > 0 && o.Augment.Resize != s.st.form.resize:
		return nil, fmt.Errorf("data: the images were opened to be resized to %d, and the transform resizes to %d (0: not at all)", s.st.form.resize, o.Augment.Resize)
	case o.Workers < 0 || o.Prefetch < 0:
		return nil, fmt.Errorf("data: %d workers, %d batches ahead: want no negative numbers", o.Workers, o.Prefetch)
	case !(o.MixupAlpha >= 0) || math.IsInf(o.MixupAlpha, 0):
		return nil, fmt.Errorf("data: mixup alpha %g: want 0 or a positive number", o.MixupAlpha)
	case !(o.CutMix >= 0) || math.IsInf(o.CutMix, 0):
		return nil, fmt.Errorf("data: cutmix alpha %g: want 0 or a positive number", o.CutMix)
	}
	if err := checkWeights(o.ClassWeights, classes); err != nil {
		return nil, err
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Prefetch == 0 {
		o.Prefetch = 4
	}
	o.Batch, o.Parts = min(o.Batch, n), max(o.Parts, 1)
	if o.Part < 0 || o.Part >= o.Parts {
		return nil, fmt.Errorf("data: part %d of %d: want one from 0 on", o.Part, o.Parts)
	}
	l := &Loader{s: s, classes: classes, o: o}
	l.h, l.w = o.Augment.OutSize(s.Bounds(0))
	if err := l.checkImages(); err != nil {
		return nil, err
	}
	if err := l.checkViews(); err != nil {
		return nil, err
	}
	if o.Balanced {
		l.byClass = s.byClass(classes)
	}
	return l, nil
}

// checkImages holds the labels to the number of classes and the sizes to what
// the options need.
func (l *Loader) checkImages() error {
	s, t := l.s, l.o.Augment
	for i := range s.Len() {
		if c := s.Label(i); c >= l.classes {
			return fmt.Errorf("data: %s has class %d, but there are only %d classes", s.File(i), c, l.classes)
		}
		if t.Size > 0 {
			continue
		}
		height, width := s.Bounds(i)
		if err := t.CheckSize(height, width); err != nil {
			return fmt.Errorf("data: %s: %w", s.File(i), err)
		}
		if h, w := t.OutSize(height, width); h != l.h || w != l.w {
			return fmt.Errorf("data: %s is %dx%d, but %s is %dx%d: set a size", s.File(i), h, w, s.File(0), l.h, l.w)
		}
	}
	if !l.o.OnDevice {
		return nil
	}
	switch h, w, same := s.Uniform(); {
	case l.o.MixupAlpha > 0 || l.o.CutMix > 0:
		return errors.New("data: mixup and CutMix are not done on the device: leave out one of the two")
	case len(l.o.Views) > 0:
		return errors.New("data: views are not made on the device: leave out one of the two")
	case !same:
		return errors.New("data: the images have several sizes: they cannot be augmented on the device")
	case !t.OnDevice(h, w):
		return errors.New("data: the transform scales images or changes their perspective: that is not done on the device")
	}
	return nil
}

// Steps returns the number of batches an epoch.
func (l *Loader) Steps() int {
	if l.o.DropLast {
		return l.s.Len() / l.o.Batch
	}
	return (l.s.Len() + l.o.Batch - 1) / l.o.Batch
}

// Shape returns the height, width and channels of the images.
func (l *Loader) Shape() (h, w, c int) { return l.h, l.w, l.o.Augment.Channels() }

// Bytes returns the memory that an epoch's buffers take with batches of so many
// images.
func (l *Loader) Bytes(batch int) int {
	batch = min(batch, l.s.Len())
	image, all := l.h*l.w*l.o.Augment.Channels()*4, l.o.Prefetch+2
	if l.o.OnDevice {
		image = 4 * wire.AugmentParams
	}
	for _, v := range l.views {
		image += v[0] * v[1] * v[2] * 4
	}
	if l.o.MixupAlpha > 0 || l.o.CutMix > 0 {
		all += l.o.Workers // each keeps a batch that is not mixed
	}
	return batch * all * (image + l.classes*4 + 4 + 4 + 8)
}

// take returns a ring of buffers and a slice for the order, used ones first.
// The ring has the batches ahead, the one in use, and the one before it.
func (l *Loader) take() ([]*slot, []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var order []int
	if n := len(l.freeOrders); n > 0 {
		order, l.freeOrders = l.freeOrders[n-1], l.freeOrders[:n-1]
	}
	if n := len(l.free); n > 0 {
		ring := l.free[n-1]
		l.free = l.free[:n-1]
		return ring, order
	}
	ring := make([]*slot, l.o.Prefetch+2)
	b := l.o.Batch
	for i := range ring {
		ring[i] = &slot{ready: make(chan struct{}, 1), b: Batch{
			H: l.h, W: l.w, C: l.o.Augment.Channels(), Classes: l.classes, viewShape: l.views,
			Targets: make([]float32, b*l.classes), Labels: make([]int32, b), Index: make([]int, b), Numbers: make([]uint32, b),
		}}
		if l.o.OnDevice {
			ring[i].b.Params = make([]uint32, b*wire.AugmentParams)
		} else {
			ring[i].b.Images = make([]float32, b*l.h*l.w*l.o.Augment.Channels())
		}
		for _, v := range l.views {
			ring[i].b.Views = append(ring[i].b.Views, make([]float32, b*v[0]*v[1]*v[2]))
		}
	}
	return ring, order
}
