package ref

import (
	"encoding/binary"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	exchanges(allReduce)
	exchanges(moveStatistics)
	define(func(op engine.AllReduceWait, in, out []Array) {
		for i := range out {
			copy(out[i].V, in[i].V)
		}
	})
}

// gather returns the tensors of every rank.
func gather(p engine.Peers, own []Array) ([][][]float32, error) {
	var mine []byte
	for _, a := range own {
		mine = append(mine, a.Encode()...)
	}
	everything := make([]byte, len(mine)*p.Size())
	if err := p.AllGather(everything, mine); err != nil {
		return nil, err
	}
	all := make([][][]float32, p.Size())
	for r := range all {
		for _, a := range own {
			t := make([]float32, a.Len())
			for i := range t {
				t[i] = math.Float32frombits(binary.NativeEndian.Uint32(everything[4*i:]))
			}
			everything = everything[a.Bytes():]
			all[r] = append(all[r], t)
		}
	}
	return all, nil
}

// allReduce is exact: every rounding of it is that of float32, in one order.
func allReduce(op engine.AllReduce, in, out []Array) error {
	own := make([]Array, len(in))
	for t := range in {
		if own[t] = in[t]; op.Absent {
			own[t] = NewArray(in[t].Spec)
			for i := range own[t].V {
				own[t].V[i] = math.Copysign(0, -1)
			}
		}
	}
	all, err := gather(op.Peers, own)
	if err != nil {
		return err
	}
	for t := range out {
		for i := range out[t].V {
			sum := all[0][t][i]
			for _, rank := range all[1:] {
				sum += rank[t][i]
			}
			out[t].V[i] = float64(sum)
		}
	}
	return nil
}

func moveStatistics(op engine.MoveStatistics, in, out []Array) error {
	k := len(out)
	all, err := gather(op.Peers, in[:k])
	if err != nil {
		return err
	}
	for t := range out {
		m := float64(op.Momentum[t/2])
		for i, v := range in[k+t].V {
			for _, rank := range all[:op.Active] {
				v = float64(float32(float64((1-m)*v) + float64(rank[t][i])*m))
			}
			out[t].V[i] = v
		}
	}
	return nil
}
