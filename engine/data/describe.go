package data

import (
	"fmt"
	"strconv"
	"strings"
)

// Describe says in a few words what an image goes through.
func (t Transform) Describe() string {
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	size := strconv.Itoa(t.Size)
	if t.Width > 0 && t.Width != t.Size {
		size = fmt.Sprintf("%dx%d", t.Size, t.Width)
	}
	if t.Resize > 0 {
		add("shorter side to %d", t.Resize)
	}
	switch {
	case t.RandomResizedCrop != nil:
		add("a random %g to %g of the area scaled to %s", t.RandomResizedCrop.Scale[0], t.RandomResizedCrop.Scale[1], size)
	case t.RandomCrop && t.Padding > 0:
		add("random crop to %s after padding by %d", size, t.Padding)
	case t.RandomCrop:
		add("random crop to %s", size)
	case t.Size > 0:
		add("center crop to %s", size)
	}
	if t.HFlip > 0 {
		add("flipped with probability %g", t.HFlip)
	}
	if a := t.RandAugment; a != nil {
		add("RandAugment (%d operations of magnitude %d)", a.Ops, a.Magnitude)
	}
	if j := t.Jitter; j != nil {
		add("color jitter %g, %g, %g, %g", j.Brightness, j.Contrast, j.Saturation, j.Hue)
	}
	if t.Rotation > 0 {
		add("rotated by up to %g degrees", t.Rotation)
	}
	if t.Perspective > 0 {
		add("perspective distorted by up to %g", t.Perspective)
	}
	if t.Gray {
		add("gray")
	}
	add("divided by 255")
	if len(t.Mean) > 0 {
		add("minus %g, divided by %g", t.Mean, t.Std)
	}
	if e := t.Erase; e != nil {
		add("a rectangle erased with probability %g", e.P)
	}
	return strings.Join(steps, ", ")
}
