package shrink

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill/lowrank"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// The kinds of moves.
const (
	Width = "width" // units of a channel group go
	Bits  = "bits"  // the weight of a layer gets fewer bits
	Block = "block" // the branch beside a shortcut goes
	Rank  = "rank"  // a layer is taken apart into layers of a lower rank
	Size  = "size"  // images become smaller
)

// A Move is one change of a net.
type Move struct {
	Kind string `json:"kind"`
	// At is the channel group, the layer, or the sum at which the branch ends.
	At string `json:"at,omitempty"`
	// Keep are the units that stay, of a width, in the numbers of the net before.
	Keep Units `json:"keep,omitempty"`
	// Bits are those that the layer has from then on.
	Bits int `json:"bits,omitempty"`
	// Form and Ranks are those of a layer taken apart: see lowrank.Split.
	Form  string `json:"form,omitempty"`
	Ranks []int  `json:"ranks,omitempty"`
	// Size is the height of the images from then on.
	Size int `json:"size,omitempty"`
	// Loss is the divergence, in nats, that it was estimated to cost.
	Loss float64 `json:"loss,omitempty"`
}

// Units are numbers of channels, ascending. In JSON they are a text of numbers and of
// ranges, as in "0-3,5,8-15"; a list of numbers is read as well.
type Units []int

// MarshalJSON implements json.Marshaler.
func (u Units) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for i := 0; i < len(u); {
		k := i
		for k+1 < len(u) && u[k+1] == u[k]+1 {
			k++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(u[i]))
		if k > i {
			b.WriteString("-" + strconv.Itoa(u[k]))
		}
		i = k + 1
	}
	return json.Marshal(b.String())
}

// mostUnits bounds what a text of Units may name.
const mostUnits = 1 << 20

// UnmarshalJSON implements json.Unmarshaler.
func (u *Units) UnmarshalJSON(text []byte) error {
	var s string
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]int)(u))
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*u = nil
	for part := range strings.SplitSeq(s, ",") {
		if s == "" {
			break
		}
		lo, hi, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(lo)
		b := a
		if ranged && err == nil {
			b, err = strconv.Atoi(hi)
		}
		if err != nil || a < 0 || b < a || b-a+len(*u) >= mostUnits {
			return fmt.Errorf("%q is no list of channels; write it as 0-3,5", s)
		}
		for ; a <= b; a++ {
			*u = append(*u, a)
		}
	}
	return nil
}

// make returns the candidate with one move of its structure made; those of widths and
// bits are made together, by apply.
func (x candidate) make(m Move) (out candidate, err error) {
	out = x.clone()
	switch m.Kind {
	case Block:
		out.c, err = x.c.Rewrite(layers.DropBranch(m.At))
	case Rank:
		out.c, err = lowrank.Apart(x.c, lowrank.Split{Layer: m.At, Form: m.Form, Ranks: m.Ranks})
	case Size:
		out.c = bare(x.c)
		out.c.Preprocess, err = resized(x.c.Preprocess, m.Size)
	}
	return out, err
}

// sized is a length of images whose height becomes to in place of from.
func sized(n, from, to int) int {
	if n == 0 {
		return 0
	}
	return max(int(math.Round(float64(n)*float64(to)/float64(from))), 1)
}

// resized returns a preparation of smaller images: all its lengths in proportion.
func resized(p checkpoint.Preprocess, to int) (checkpoint.Preprocess, error) {
	if to < 1 || p.Size < to {
		return p, fmt.Errorf("images of height %d cannot become smaller by getting the height %d", p.Size, to)
	}
	p.Resize, p.Width, p.Size = sized(p.Resize, p.Size, to), sized(p.Width, p.Size, to), to
	return p, nil
}

// resizedTransform does the same for what a training does to its images.
func resizedTransform(t data.Transform, to int) data.Transform {
	if t.Size == 0 || t.Size == to {
		return t
	}
	t.Resize, t.Width, t.Padding, t.Size = sized(t.Resize, t.Size, to), sized(t.Width, t.Size, to), sized(t.Padding, t.Size, to), to
	return t
}
