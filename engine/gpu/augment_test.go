package gpu

import (
	"errors"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/wire"
)

func init() {
	plants = append(plants,
		plant{"the reflection's end", "augment", "Augment", "i : 2 * n - 1 - i;", "i : 2 * n - 2 - i;"},
		plant{"no padding before the reflection", "augment", "Augment", "n + 2 * padding) - padding, n)", "n) - padding, n)"},
		plant{"a mirror of the image, not of the crop", "augment", "Augment", "x = a->ow - 1 - x;", "x = a->w - 1 - x;"},
		plant{"rows and columns of the map", "augment", "Augment", "(u32)c.ay * x + (u32)c.by * y", "(u32)c.ay * y + (u32)c.by * x"},
		plant{"an image that is not there", "augment", "Augment", "i < a->n ? i : a->n - 1u", "i % a->n"},
		plant{"a column beyond the border", "augment", "Augment", "(u32)x < (u32)a->w)", "(u32)x <= (u32)a->w)"},
		plant{"the last pixels of an image", "augment", "Augment", "min(pixels - first, 32u) * 3u", "(pixels - first) / 32u * 96u"},
		plant{"no barrier before a warp writes", "augment", "Augment", "\t__syncwarp();\n", ""},
		plant{"one channel's table", "augment", "Augment", "a.table[512 + p.b]", "a.table[256 + p.b]"},
		plant{"contrast before what is in front of it", "augment", "Augment", "(u64)luma(adjusted(cropped(&a, image, &c, (int)y, (int)x), &c, -1))", "(u64)luma(cropped(&a, image, &c, (int)y, (int)x))"},
		plant{"a mean that is not rounded", "augment", "Augment", "(2 * sum + pixels) / (2 * (u64)pixels)", "sum / pixels"},
		plant{"the mean of one warp", "augment", "Augment", "i < warps; i++) sum += sums[i];", "i < 1; i++) sum += sums[i];"},
		plant{"a blend that rounds", "augment", "Augment", ": (int)z;", ": (int)(z + 0.5f);"},
		plant{"the wrong sixth of the circle", "augment", "Augment", "case 4: q.r = rising,", "case 4: q.r = falling,"},
		plant{"the hue's order of channels", "augment", "Augment", "most == p.r ? b - g", "most == p.r ? g - b"},
	)
}

// TestAugmentIsThere shows that this backend has what the suite lets it refuse,
// and what it does refuse.
func TestAugmentIsThere(t *testing.T) {
	b := openBackend(t, fakeOptions(t))
	compile := func(batch, side int) error {
		op := engine.Augment{Height: side, Width: side, Jitter: true}
		in := []engine.Spec{{Shape: []int{2, 5, 3, 3}, DType: engine.Uint8}, {Shape: []int{batch}, DType: engine.Uint32},
			{Shape: []int{batch, wire.AugmentParams}, DType: engine.Uint32}, engine.AugmentTable}
		out, err := op.Infer(in)
		if err == nil {
			_, err = b.Compile(op, in, out)
		}
		return err
	}
	if err := compile(3, 7); err != nil {
		t.Error(err)
	}
	if err := compile(1<<14, 1<<13); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("2³² tiles: %v, want ErrUnsupported", err)
	}
	if err := compile(1, 1<<13+1); !errors.Is(err, engine.ErrShape) {
		t.Errorf("a side of 8193: %v, want ErrShape", err)
	}
}
