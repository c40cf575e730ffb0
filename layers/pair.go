package layers

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/potstill/potstill/engine/yamldoc"
)

// A Pair is a setting of the two axes of a picture, [height, width]. Files hold
// a number where both are equal.
type Pair [2]int

// Both returns the pair that is the same along both axes.
func Both(n int) Pair { return Pair{n, n} }

// within reports whether both numbers are from least to most.
func (p Pair) within(least, most int) bool {
	return min(p[0], p[1]) >= least && max(p[0], p[1]) <= most
}

// String writes a number where both are equal, as "3", else "1x7".
func (p Pair) String() string {
	if p[0] == p[1] {
		return fmt.Sprint(p[0])
	}
	return fmt.Sprintf("%dx%d", p[0], p[1])
}

// MarshalJSON implements json.Marshaler.
func (p Pair) MarshalJSON() ([]byte, error) {
	if p[0] == p[1] {
		return json.Marshal(p[0])
	}
	return json.Marshal([2]int(p))
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pair) UnmarshalJSON(text []byte) error { return setJSON(text, p.set) }

// DecodeNode implements yamldoc.NodeDecoder.
func (p *Pair) DecodeNode(n *yamldoc.Node) error { return setNode(n, p.set) }

func (p *Pair) set(n []int) error {
	switch len(n) {
	case 1:
		*p = Both(n[0])
	case 2:
		*p = Pair(n)
	default:
		return fmt.Errorf("%d numbers; give one, or [height, width]", len(n))
	}
	return nil
}

// Pads says how many rows and columns are put around a picture: [top, left,
// bottom, right]. Files hold a number where all four are equal, and [height,
// width] where opposite sides are, as PyTorch's padding.
type Pads [4]int

// Around returns the padding that is the same on all four sides.
func Around(n int) Pads { return Pads{n, n, n, n} }

// Sides returns a padding of so many rows above and below, and so many columns
// to the left and to the right.
func Sides(height, width int) Pads { return Pads{height, width, height, width} }

// within reports whether all numbers are from least to most.
func (p Pads) within(least, most int) bool {
	return min(p[0], p[1], p[2], p[3]) >= least && max(p[0], p[1], p[2], p[3]) <= most
}

// short returns the fewest numbers that stand for p.
func (p Pads) short() []int {
	switch {
	case p == Around(p[0]):
		return p[:1]
	case p == Sides(p[0], p[1]):
		return p[:2]
	}
	return p[:]
}

// String writes p as files do: "1", "[0,3]" or "[0,0,1,1]".
func (p Pads) String() string {
	text, _ := p.MarshalJSON() // cannot fail: they are integers
	return string(text)
}

// MarshalJSON implements json.Marshaler.
func (p Pads) MarshalJSON() ([]byte, error) {
	if n := p.short(); len(n) > 1 {
		return json.Marshal(n)
	}
	return json.Marshal(p[0])
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pads) UnmarshalJSON(text []byte) error { return setJSON(text, p.set) }

// DecodeNode implements yamldoc.NodeDecoder.
func (p *Pads) DecodeNode(n *yamldoc.Node) error { return setNode(n, p.set) }

func (p *Pads) set(n []int) error {
	switch len(n) {
	case 1:
		*p = Around(n[0])
	case 2:
		*p = Sides(n[0], n[1])
	case 4:
		*p = Pads(n)
	default:
		return fmt.Errorf("%d numbers; give one, [height, width], or [top, left, bottom, right]", len(n))
	}
	return nil
}

// setJSON sets what an integer, or a list of them, says in JSON.
func setJSON(text []byte, set func([]int) error) error {
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) {
		text = bytes.Join([][]byte{[]byte("["), text, []byte("]")}, nil)
	}
	var list []*int // a null is no number
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	var out []int
	for _, n := range list {
		if n == nil {
			return fmt.Errorf("%s has something that is no number", short(text))
		}
		out = append(out, *n)
	}
	return set(out)
}

// setNode sets what an integer, or a list of them, says in YAML.
func setNode(n *yamldoc.Node, set func([]int) error) error {
	var list []int
	var one int
	if err := n.Decode(&one); err == nil {
		list = []int{one}
	} else if n.Decode(&list) != nil {
		return err
	}
	if err := set(list); err != nil {
		return n.Errorf("", "%v", err)
	}
	return nil
}
