package data

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine/random"
)

// A view is another preparation of the images of a batch, as a teacher has that
// was made for larger pictures than its student. It has a Resize, a Size, a Mean
// and a Std of its own, and the random choices are those that were made for the
// batch's own images: the same flip, angle, jitter, perspective, RandAugment and
// erased rectangle, the same part of the picture under RandomResizedCrop, and
// under RandomCrop a window of the view's size at the same place relative to the
// picture.

// checkView reports what cannot be the transform of a view.
func checkView(t Transform) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if t.RandomCrop || t.RandomResizedCrop != nil || t.HFlip != 0 || t.Rotation != 0 || t.Jitter != nil || t.Perspective != 0 ||
		t.RandAugment != nil || t.Erase != nil {
		return fmt.Errorf("data: a view has no random stages of its own, it shares those of the images")
	}
	return nil
}

// checkViews holds the views to what the options and the images allow.
func (l *Loader) checkViews() error {
	for _, v := range l.o.Views {
		if err := checkView(v); err != nil {
			return err
		}
		if r := l.s.st.form.resize; r > 0 && v.Resize != r {
			return fmt.Errorf("data: the images were opened to be resized to %d, and a view resizes to %d (0: not at all)", r, v.Resize)
		}
		h, w := v.OutSize(l.s.Bounds(0))
		for i := 0; i < l.s.Len() && v.Size == 0; i++ {
			if vh, vw := v.OutSize(l.s.Bounds(i)); vh != h || vw != w {
				return fmt.Errorf("data: a view of %s is %dx%d, of %s %dx%d: set a size for it", l.s.File(i), vh, vw, l.s.File(0), h, w)
			}
		}
		l.views = append(l.views, [3]int{h, w, v.Channels()})
	}
	return nil
}

// ViewShape returns the height, width and channels of a view.
func (l *Loader) ViewShape(i int) (h, w, c int) { return l.views[i][0], l.views[i][1], l.views[i][2] }

// applyView makes the view own of an image that t makes with the same r. A nil
// r is evaluation.
func (s *scratch) applyView(t, own *Transform, dst []float32, src Image, r *random.Rand) {
	if r == nil {
		s.apply(own, dst, src, nil)
		return
	}
	h, w := t.OutSize(src.H, src.W)
	ih, iw := t.scaled(src.H, src.W, false)
	c := t.choose(ih, iw, h, w, r)
	vh, vw := own.OutSize(src.H, src.W)
	jh, jw := ih, iw
	if t.RandomResizedCrop == nil || own.Resize > 0 {
		jh, jw = own.scaled(src.H, src.W, false)
	}
	c.follow(t, axis{ih, h}, axis{jh, vh}, axis{iw, w}, axis{jw, vw})
	s.render(own, dst, src, jh, jw, &c)
}

// An axis is one of a picture: its samples after the picture was scaled, and
// those of the output.
type axis struct{ n, size int }

// follow turns the choice that t made for an image into that for a view: y0 and
// x0 are the axes of the image, y1 and x1 those of the view.
func (c *choice) follow(t *Transform, y0, y1, x0, x1 axis) {
	switch {
	case c.part.h > 0:
		c.part.y, c.part.h = stretch(c.part.y, c.part.h, y0.n, y1.n)
		c.part.x, c.part.w = stretch(c.part.x, c.part.w, x0.n, x1.n)
	case c.symmetric:
		pad := int(math.Round(float64(c.padding) * float64(y1.n) / float64(max(y0.n, 1))))
		c.y, c.x = window(c.y, c.padding, pad, y0, y1), window(c.x, c.padding, pad, x0, x1)
		c.padding = pad
	default:
		c.y, c.x = centerCrop(y1.n, y1.size), centerCrop(x1.n, x1.size)
	}
	if c.erase.h > 0 {
		c.erase.y, c.erase.h = stretch(c.erase.y, c.erase.h, y0.size, y1.size)
		c.erase.x, c.erase.w = stretch(c.erase.x, c.erase.w, x0.size, x1.size)
	}
	if c.perspective {
		r := c.warp
		c.coeffs = randomPerspective(x1.size, y1.size, t.Perspective, &r)
	}
}

// stretch takes the part of an axis of n samples that begins at the given one
// to an axis of m.
func stretch(at, length, n, m int) (int, int) {
	if n == m {
		return at, length
	}
	k := float64(m) / float64(n)
	first := min(int(math.Round(float64(at)*k)), m-1)
	return first, min(max(int(math.Round(float64(length)*k)), 1), m-first)
}

// window places the view's window as far along its axis as the image's is along
// its own, each with its padding (see symmetricCrop): at the beginning, at the
// end, or between.
func window(at, pad, viewPad int, image, view axis) int {
	first, room := image.room(pad)
	share := 0.5
	if room > 0 {
		share = float64(at-first) / float64(room)
	}
	first, room = view.room(viewPad)
	return first + int(math.Round(share*float64(room)))
}

// room returns the first place of a random crop along an axis, and how many more
// there are.
func (a axis) room(pad int) (first, more int) {
	padded := a.n + 2*pad
	extra := max(a.size-padded, 0)
	return -extra - pad, padded + 2*extra - a.size
}
