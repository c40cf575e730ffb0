//go:build linux && cgo

package gpu

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine/backendtest/cstruct"
)

// arguments are the structs that mirror those of the kernels' sources, which a
// kernel's name and "_args" name.
var arguments = map[string]map[string]any{
	"activation":   {"activation_args": activationArgs{}, "activation_backward_args": activationBackwardArgs{}},
	"adaptivepool": {"adaptive_avg_pool_args": adaptiveArgs{}},
	"allreduce":    {"pack_args": packArgs{}, "rank_sum_args": rankSumArgs{}, "move_statistics_args": moveStatisticsArgs{}},
	"augment":      {"augment_args": augmentArgs{}},
	"batchnorm": {"bn_stats_args": bnStatsArgs{}, "bn_finish_args": bnFinishArgs{}, "bn_apply_args": bnApplyArgs{},
		"bn_fold_args": bnFoldArgs{}},
	"batchnorm_backward": {"bn_grad_args": bnGradArgs{}, "bn_grad_finish_args": bnGradFinishArgs{}},
	"batchnorm_pool":     {"bn_pool_args": bnPoolArgs{}},
	"channelshuffle":     {"channel_shuffle_args": channelShuffleArgs{}},
	"check":              {"all_finite_args": checkArgs{}},
	"concat":             {"strip_args": stripArgs{}},
	"conv2d":             {"conv2d_args": conv2DArgs{}},
	"conv2d_weight":      {"conv2d_weight_args": conv2DWeightArgs{}},
	"depthwise":          {"depthwise_args": depthwiseArgs{}, "depthwise_data_args": depthwiseDataArgs{}, "depthwise_weight_args": depthwiseWeightArgs{}},
	"depthwise3x3":       {"depthwise3x3_args": depthwise3x3Args{}, "depthwise3x3_data_args": depthwise3x3DataArgs{}, "depthwise3x3_weight_args": depthwise3x3WeightArgs{}},
	"elementwise": {"add2_args": add2Args{}, "add_args": addArgs{}, "fill_args": fillArgs{}, "cast_to_args": castArgs{},
		"cast_from_args": castArgs{}, "transpose_args": transposeArgs{}, "dropout_args": dropoutArgs{}, "stochastic_depth_args": stochasticDepthArgs{}},
	"firstlayer": {"first_layer_args": firstLayerArgs{}, "first_layer_weight_args": firstLayerWeightArgs{}},
	"gemm":       {"gemm_args": gemmArgs{}, "gemm_weight_args": gemmWeightArgs{}},
	"groupnorm":  {"group_norm_args": groupNormArgs{}, "group_norm_finish_args": groupNormFinishArgs{}},
	"layernorm":  {"layer_norm_args": layerNormArgs{}, "layer_norm_grad_args": layerNormGradArgs{}},
	"layout": {"transpose_back_args": layoutTransposeArgs{}, "epilogue_args": epilogueArgs{},
		"column_sum_args": columnSumArgs{}, "column_total_args": columnTotalArgs{}},
	"loss":      {"loss_args": lossArgs{}},
	"noise":     {"noise_args": noiseArgs{}},
	"optimizer": {"adam_args": optimizerArgs{}, "clip_args": clipArgs{}},
	"pool2d": {"pool_args": poolArgs{}, "global_avg_pool_args": globalAvgPoolArgs{},
		"global_avg_pool_backward_args": globalAvgPoolBackwardArgs{}},
	"channelwise": {"channelwise_args": channelwiseArgs{}, "channelwise_grad_args": channelwiseGradArgs{}, "channelwise_total_args": channelwiseTotalArgs{},
		"slope_total_args": slopeTotalArgs{}, "rowwise_args": rowwiseArgs{}},
	"pad2d": {"pad2d_args": pad2dArgs{}}, "localresponsenorm": {"local_response_args": responseArgs{}},
	"pointwise":     {"pointwise_args": pointwiseArgs{}},
	"mse":           {"mse_args": mseArgs{}},
	"softmax":       {"softmax_args": softmaxArgs{}},
	"quantize":      {"quantize_args": quantizeArgs{}, "dequantize_args": dequantizeArgs{}, "lookup_args": lookupArgs{}},
	"qadd":          {"qadd_args": qaddArgs{}, "qmul_args": qmulArgs{}},
	"qconcat":       {"qconcat_args": qconcatArgs{}, "qflatten_args": qflattenArgs{}},
	"qpool":         {"qmaxpool_args": qpoolArgs{}, "qavgpool_args": qpoolArgs{}},
	"qconv2d":       {"qconv2d_args": qconv2DArgs{}, "qpack_args": qpackArgs{}},
	"split_sum":     {"split_sum_args": splitSumArgs{}},
	"syncbatchnorm": {"sync_bn_join_args": syncJoinArgs{}, "sync_bn_grad_join_args": syncGradJoinArgs{}},
	"weights":       {"weights_args": weightsArgs{}},
}

var (
	defines   = regexp.MustCompile(`(?m)^#define (\w+) (\d+)\b`)
	typedefed = regexp.MustCompile(`(?s)typedef struct[^;{]*\{[^{}]*\} ([\w, ]+);`)
)

// TestArgumentsAreThoseOfTheKernels holds every kernel's struct of arguments to
// its mirror in Go. One that a source adds must be added above; names that
// typedef gives to one struct need one mirror.
func TestArgumentsAreThoseOfTheKernels(t *testing.T) {
	for _, file := range kernels.Names() {
		text, err := kernels.Source(file)
		if err != nil {
			t.Fatal(err)
		}
		constants := make(map[string]int)
		for _, m := range defines.FindAllStringSubmatch(text, -1) {
			constants[m[1]], _ = strconv.Atoi(m[2])
		}
		c := cstruct.Parse(text, constants)
		mirrored := make(map[string]bool)
		for name, v := range arguments[file] {
			mirrored[name] = true
			if c[name] == nil {
				t.Errorf("%s has no %s that can be compared", file, name)
			} else if d := cstruct.Differ(c[name], v, reflect.TypeOf(cuda.Ptr(0))); d != "" {
				t.Errorf("%s, %s and %T: %s", file, name, v, d)
			}
		}
		for _, m := range typedefed.FindAllStringSubmatch(text, -1) {
			names, known := strings.Split(m[1], ", "), false
			for _, name := range names {
				known = known || mirrored[name] || !strings.HasSuffix(name, "_args")
			}
			if !known {
				t.Errorf("%s: %s is not compared with a struct of Go", file, m[1])
			}
		}
	}
}
