package cpu

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/engine/backendtest/cstruct"
)

// TestArgumentsAreThoseOfC compares the argument structs with those of the C headers. One
// that is added there must be added here.
func TestArgumentsAreThoseOfC(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the kernels are compiled for 64-bit machines")
	}
	own := map[string]any{
		"span": span{}, "pool_span": struct{ first, end, divisor int64 }{}, "ps_command": command{}, "ps_act": actFunc{},
		"cast_args": castArgs{}, "fill_args": fillArgs{}, "add_args": addArgs{}, "act_args": actArgs{}, "pool_args": poolArgs{},
		"transpose_args": transposeArgs{}, "dropout_args": dropoutArgs{}, "strip_args": stripArgs{}, "shuffle_args": shuffleArgs{},
		"pad2d_args": pad2dArgs{}, "local_response_args": responseArgs{},
		"loss_args": lossArgs{}, "bn_args": bnArgs{}, "fold_args": foldArgs{}, "layer_norm_args": layerNormArgs{},
		"norm_total_args": normTotalArgs{}, "group_norm_args": groupNormArgs{}, "pack_args": packArgs{}, "pad_args": padArgs{},
		"igemm_args": igemmArgs{}, "wgrad_args": wgradArgs{}, "reduce_args": reduceArgs{}, "rgb_args": rgbArgs{}, "wino_args": winoArgs{}, "wino_grad_args": winoGradArgs{}, "wino_weight_args": winoWeightArgs{},
		"depthwise_args": depthwiseArgs{}, "optim_args": optimArgs{}, "mix_args": mixArgs{}, "clip_args": clipArgs{},
		"softmax_args": softmaxArgs{}, "mse_args": mseArgs{}, "channel_args": channelArgs{}, "depth_args": depthArgs{}, "pointwise_args": pointwiseArgs{},
		"codes_args": codesArgs{}, "qpool_args": qpoolArgs{}, "qconv_args": qconvArgs{},
		"chain_link": chainLink{}, "chain_args": chainArgs{},
	}
	var text []byte
	for _, name := range []string{"args.h", "args_conv.h", "kernels.h"} {
		header, err := os.ReadFile(filepath.Join("kernels", name))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, header...)
	}
	c := cstruct.Parse(string(text), nil)
	for name, fields := range c {
		v, ok := own[name]
		if !ok {
			t.Errorf("%s is not compared with a struct of Go", name)
			continue
		}
		if d := cstruct.Differ(fields, v, nil); d != "" {
			t.Errorf("%s and %T: %s", name, v, d)
		}
	}
	for name := range own {
		if c[name] == nil {
			t.Errorf("the headers have no %s", name)
		}
	}
}

// TestConstantsAreThoseOfC compares the sizes of arrays of the kernels with the numbers that keep
// what is in them within.
func TestConstantsAreThoseOfC(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		own  int
	}{
		"QBLOCK":      {"qconv2d.h", qblock},
		"QROWS":       {"qconv2d.h", qtile},
		"GEMM_TAPS":   {"gemm_taps.h", gemmTaps},
		"CHAIN_LINKS": {"args.h", chainLinks},
		"PS_ZEROS":    {"kernels.h", zerosFloats},
	} {
		text, err := os.ReadFile(filepath.Join("kernels", c.file))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`\b` + name + `\s*(?:=\s*)?([0-9]+)\b`).FindSubmatch(text)
		if found == nil {
			t.Errorf("%s has no %s", c.file, name)
			continue
		}
		if n, err := strconv.Atoi(string(found[1])); err != nil || n != c.own {
			t.Errorf("%s of %s is %s, and %d in Go", name, c.file, found[1], c.own)
		}
	}
}
