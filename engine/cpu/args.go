package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A kernelID names a kernel; the order is that of PS_KERNELS in kernels.h.
type kernelID int64

const (
	kWiden kernelID = iota
	kNarrow
	kFill
	kAdd
	kAct
	kActBackward
	kMaxPool
	kMaxPoolBackward
	kAvgPool
	kAvgPoolBackward
	kGlobalPool
	kGlobalPoolBackward
	kTranspose
	kDropout
	kStrip
	kChannelShuffle
	kPad2D
	kPad2DBackward
	kLocalResponse
	kLocalResponseBackward
	kStochasticDepth
	kPointwise
	kChannelwise
	kChannelwiseBackward
	kChannelwiseTotal
	kRowwise
	kFakeQuant
	kFakeQuantBackward
	kSoftmax
	kSoftmaxBackward
	kMSE
	kMSETotal
	kMSEBackward
	kCrossEntropy
	kCrossEntropyBackward
	kKLDiv
	kKLDivBackward
	kBNStats
	kBNFinish
	kBNApply
	kBNGrad
	kBNGradFinish
	kBNGradApply
	kBNFold
	kBNApplyAct
	kBNGradAct
	kBNGradApplyAct
	kLayerNorm
	kLayerNormBackward
	kNormTotal
	kGroupNormStats
	kGroupNormFinish
	kGroupNorm
	kGroupNormGrad
	kGroupNormCoef
	kGroupNormBackward
	kPack
	kPad
	kIGemm
	kWGrad
	kReduce
	kRGBPad
	kRGB
	kRGBWeight
	kWinoWeight
	kWinoInput
	kWino
	kWinoDy
	kWinoGrad
	kWinoGradWeight
	kDepthwise
	kDepthwiseData
	kDepthwiseWeight
	kAdam
	kSGD
	kMix
	kSumSq
	kClip
	kChain
	kQuantize
	kDequantize
	kLookup
	kQAdd
	kQMul
	kQConcat
	kQFlatten
	kQMaxPool
	kQAvgPool
	kQPack
	kQConv
	kQDepthwisePack
	kQDepthwise
	kernelCount
)

// of returns the kernel for activations of a type: those for bfloat16 stand behind
// all that are for float32 (PS_STORED of kernels.h says which there are).
func (k kernelID) of(t engine.DType) kernelID {
	if t == engine.BFloat16 {
		return k + kernelCount
	}
	return k
}

// kernelNames are the C names, to check the order against the library's.
var kernelNames = [kernelCount]string{
	"widen", "narrow", "fill", "add", "act", "act_backward", "maxpool", "maxpool_backward", "avgpool", "avgpool_backward",
	"globalpool", "globalpool_backward", "transpose", "dropout", "strip", "channel_shuffle",
	"pad2d", "pad2d_backward", "local_response", "local_response_backward",
	"stochastic_depth", "pointwise", "channelwise", "channelwise_backward", "channelwise_total", "rowwise", "fake_quant", "fake_quant_backward", "softmax", "softmax_backward", "mse", "mse_total", "mse_backward",
	"cross_entropy", "cross_entropy_backward", "kldiv", "kldiv_backward", "bn_stats", "bn_finish", "bn_apply", "bn_grad", "bn_grad_finish",
	"bn_grad_apply", "bn_fold", "bn_apply_act", "bn_grad_act", "bn_grad_apply_act",
	"layer_norm", "layer_norm_backward", "norm_total", "group_norm_stats", "group_norm_finish",
	"group_norm", "group_norm_grad", "group_norm_coef", "group_norm_backward", "pack", "pad", "igemm", "wgrad", "reduce", "rgb_pad", "rgb", "rgb_weight", "wino_weight", "wino_input", "wino", "wino_dy", "wino_grad", "wino_grad_weight", "depthwise", "depthwise_data",
	"depthwise_weight", "adam", "sgd", "mix", "sumsq", "clip", "chain",
	"quantize", "dequantize", "lookup", "qadd", "qmul", "qconcat", "qflatten", "qmaxpool", "qavgpool", "qpack", "qconv", "qdepthwise_pack", "qdepthwise",
}

// The arguments of the kernels, field for field as in args.h, where they
// are explained; a test compares them. A ptr points into a buffer or into the
// command list itself. Those of convolutions in float32 and bfloat16 are in args_conv.go.
type (
	ptr = unsafe.Pointer

	castArgs struct {
		x, y ptr
		n    int64
	}
	fillArgs struct {
		y     ptr
		n     int64
		value float64
	}
	span struct {
		p, g, m, v ptr
		n          int64
	}
	addArgs struct {
		y    ptr
		x, w ptr
		k, n int64
	}
	actFunc struct {
		f       int64
		a, b, c float64
	}
	actArgs struct {
		x, dy, y ptr
		n        int64
		act      actFunc
	}
	poolArgs struct {
		x, dy, y                       ptr
		scratch                        ptr
		rowSpans, colSpans             ptr
		n, h, w, c, oh, ow, dilh, dilw int64
		wide, apart, rows              int64
	}
	transposeArgs struct {
		x, y          ptr
		n, rows, cols int64
	}
	dropoutArgs struct {
		x, counter, y        ptr
		n, stream, threshold int64
		scale                float64
	}
	depthArgs struct {
		x, counter, y              ptr
		n, each, stream, threshold int64
		scale                      float64
	}
	pointwiseArgs struct {
		a, b, dy, y ptr
		n, op       int64
	}
	channelArgs struct {
		x, w, b, dy  ptr
		y            ptr
		dw, db       ptr
		part         ptr
		m, c         int64
		stride       int64
		rows, chunks int64
		prelu, one   int64
		lo, hi, gain float64
	}
	softmaxArgs struct {
		x, dy, y  ptr
		m, c      int64
		rows, log int64
	}
	mseArgs struct {
		x, t, dloss, y ptr
		part           ptr
		n, each, parts int64
	}
	stripArgs struct {
		x, y              ptr
		m, xc, x0, yc, y0 int64
		n, fill           int64
		rows, tasks       int64
	}
	pad2dArgs struct {
		x, y, scratch      ptr
		rowFrom, colFrom   ptr
		n, h, w, c, oh, ow int64
		rows               int64
		value              float64
	}
	responseArgs struct {
		x, dy, y, scratch    ptr
		m, c, before, behind int64
		rows                 int64
		scale, beta, k       float64
	}
	shuffleArgs struct {
		x, y            ptr
		m, groups, each int64
		rows            int64
	}
	lossArgs struct {
		x, t, dloss, y ptr
		n, k           int64
		param          float64
	}
	bnArgs struct {
		x, dy                   ptr
		gamma, beta             ptr
		mean                    ptr
		variance                ptr `c:"var"`
		mu, r                   ptr
		runMean, runVar         ptr
		part                    ptr
		y                       ptr
		dgamma, dbeta           ptr
		coef                    ptr
		m, c                    int64
		rows                    int64
		tasks                   int64
		n, h, w, oh, ow, kernel int64
		act, eval               int64
		more                    actFunc
		fromX                   int64
		scratch                 ptr
		block                   int64
		eps, momentum           float64
	}
	foldArgs struct {
		w, bias, gamma, beta, mean ptr
		variance                   ptr `c:"var"`
		wout, bout                 ptr
		k, o                       int64
		eps                        float64
	}
	layerNormArgs struct {
		x, dy, gamma, beta, y, part ptr
		m, c, rows                  int64
		eps                         float64
	}
	normTotalArgs struct {
		part, dgamma, dbeta ptr
		c, parts            int64
	}
	groupNormArgs struct {
		x, dy, gamma, beta, mu, r, y, part, coef ptr
		m, c, groups, rows, chunks               int64
		eps                                      float64
	}
	codesArgs struct {
		x, b, y                     ptr
		n, each, c, yc, y0, pixels  int64
		xzero, bzero, yzero, lo, hi int64
		m, mb                       float64
	}
	qpoolArgs struct {
		x, y                        ptr
		rowSpans, colSpans          ptr
		h, w, c, oh, ow, dilh, dilw int64
		xzero, yzero, lo, hi        int64
		m                           float64
	}
	qconvArgs struct {
		x, w, bias, m, packed, y     ptr
		sum                          ptr
		n, h                         int64
		wd                           int64 `c:"w_"`
		c, oh, ow, o, kh, kw, sh, sw int64
		top, left, dilh, dilw        int64
		groups, cg, og, k            int64
		way, floats                  int64
		xzero, yzero, lo, hi         int64
		block, splits, threads       int64
	}
	optimArgs struct {
		spans                        ptr
		hyper, scale                 ptr
		beta1, beta2, eps, decoupled float64
	}
	mixArgs struct {
		spans  ptr
		s      ptr
		ema    int64
		weight float64
	}
	clipArgs struct {
		spans       ptr
		part        ptr
		norm, scale ptr
		tasks       int64
		maxNorm     float64
	}
	chainLink struct {
		kind         int64
		args         ptr
		need         ptr
		in, out      int64
		rows         int64
		grain        int64
		memory, room int64
	}
	chainArgs struct {
		links       ptr
		x           ptr
		y           ptr
		memory      ptr
		busy        ptr
		count       int64
		picture     int64
		tiles, rows int64
		slots, slot int64
	}
)

// spanFloats is PS_SPAN, the elements of one task of an element-wise kernel.
const spanFloats = 16384

// zerosFloats is PS_ZEROS, the longest reduction of one tap.
const zerosFloats = 16384

// scratchFloats are those of PS_SCRATCH.
const scratchFloats = 1 << 20

// foldRows is FOLD_ROWS, the rows of one task of bn_fold.
const foldRows = 64

// gemmTaps is GEMM_TAPS, the most taps of one launch of igemm.
const gemmTaps = 64

// wideFloats is WIDE_FLOATS, what a product in bfloat16 may widen of x.
const wideFloats = 1 << 17

// A command is one launch, as ps_command in kernels.h.
type command struct {
	kernel, tasks int64
	args          ptr
}
