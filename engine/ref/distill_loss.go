package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(distillLoss)
	define(distillLossBackward)
}

// mixed returns hard·a + soft·b of element i, where hard and soft are given.
func mixed(hard, soft float32, a, b Array, i int) num {
	x := exact(float64(hard)).mul(num{a.V[i], a.Mag[i]})
	return x.add(exact(float64(soft)).mul(num{b.V[i], b.Mag[i]}))
}

func distillLoss(op engine.DistillLoss, in, out []Array) {
	x, target, teacher := in[0], in[1], in[2]
	crossEntropy(engine.CrossEntropy{LabelSmoothing: op.LabelSmoothing}, []Array{x, target}, out[1:2])
	klDiv(engine.KLDiv{T: op.T}, []Array{x, teacher}, out[2:3])
	out[0].set(0, mixed(op.Hard, op.Soft, out[1], out[2], 0))
	out[0].K = x.Len()
}

func distillLossBackward(op engine.DistillLossBackward, in, out []Array) {
	x, target, teacher, dloss := in[0], in[1], in[2], in[3]
	ce, kl := []Array{scratch(x.Spec)}, []Array{scratch(x.Spec)}
	crossEntropyBackward(engine.CrossEntropyBackward{LabelSmoothing: op.LabelSmoothing}, []Array{x, target, dloss}, ce)
	klDivBackward(engine.KLDivBackward{T: op.T}, []Array{x, teacher, dloss}, kl)
	for i := range out[0].V {
		out[0].set(i, mixed(op.Hard, op.Soft, ce[0], kl[0], i))
	}
	out[0].K = x.Shape[1]
}
