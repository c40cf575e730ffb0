package train

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// CheckLastBatch reports whether the net cannot be trained on an epoch's last
// batch where that is one image: batch norm needs more than one value a channel.
// [New] does the same; this is for what must be known earlier.
func CheckLastBatch(net Net, ds *data.Dataset, c Config) error {
	if ds.Train == nil || c.Batch < 1 {
		return nil // New says what is wrong
	}
	n := ds.Train.Len()
	batch := min(c.Batch, n)
	if n == 0 || n%batch != 1%batch || batch > 1 && c.DropLast {
		return nil
	}
	h, w := c.Train.OutSize(ds.Train.Bounds(0))
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(1, h, w, 3))
	net.Build(b, x, true)
	err := b.Err()
	switch {
	case err == nil:
		return nil
	case batch == 1:
		return fmt.Errorf("the net cannot be trained on one image at a time: %w; choose a larger batch", err)
	}
	return fmt.Errorf("the last batch of an epoch, of %d images in batches of %d, is one image, and the net cannot be trained on one: %w; leave it out (--drop-last), or choose another --batch",
		n, batch, err)
}
