// What the Go side and the C kernels agree on: the list of kernels, and how one is
// launched. What each takes is in args.h and args_conv.h.
//
// A kernel is a function of its arguments and a task number. Tasks of one
// launch touch disjoint outputs and may run in any order on any thread; how
// sums are cut into parts depends on shapes alone, so results do not depend on
// the number of threads.
#ifndef POTSTILL_KERNELS_H
#define POTSTILL_KERNELS_H

#include <stdint.h>

#include "args.h"
#include "args_conv.h"

typedef void (*ps_kernel)(const void *args, int64_t task);

// In the order of the constants in args.go.
#define PS_KERNELS(X)                                                          \
  X(widen) X(narrow) X(fill) X(add) X(act) X(act_backward)                     \
  X(maxpool) X(maxpool_backward) X(avgpool) X(avgpool_backward)                \
  X(globalpool) X(globalpool_backward) X(transpose) X(dropout) X(strip)        \
  X(channel_shuffle) X(pad2d) X(pad2d_backward)                                \
  X(local_response) X(local_response_backward) X(stochastic_depth)             \
  X(pointwise) X(channelwise) X(channelwise_backward) X(channelwise_total)     \
  X(rowwise) X(fake_quant) X(fake_quant_backward) X(softmax) X(softmax_backward) \
  X(mse) X(mse_total) X(mse_backward)                                          \
  X(cross_entropy) X(cross_entropy_backward) X(kldiv) X(kldiv_backward)        \
  X(bn_stats) X(bn_finish) X(bn_apply) X(bn_grad) X(bn_grad_finish)            \
  X(bn_grad_apply) X(bn_fold)                                                  \
  X(bn_apply_act) X(bn_grad_act) X(bn_grad_apply_act)                          \
  X(layer_norm) X(layer_norm_backward) X(norm_total)                           \
  X(group_norm_stats) X(group_norm_finish) X(group_norm)                       \
  X(group_norm_grad) X(group_norm_coef) X(group_norm_backward)                 \
  X(pack) X(pad) X(igemm) X(wgrad) X(reduce) X(rgb_pad) X(rgb) X(rgb_weight)   \
  X(wino_weight) X(wino_input) X(wino)                                         \
  X(wino_dy) X(wino_grad) X(wino_grad_weight)                                  \
  X(depthwise) X(depthwise_data) X(depthwise_weight)                           \
  X(adam) X(sgd) X(mix) X(sumsq) X(clip) X(chain)                              \
  X(quantize) X(dequantize) X(lookup) X(qadd) X(qmul) X(qconcat) X(qflatten)   \
  X(qmaxpool) X(qavgpool) X(qpack) X(qconv) X(qdepthwise_pack) X(qdepthwise)

// The kernels that are there for instruction sets with products of four bytes, too.
#define PS_DOT_KERNELS(X) X(qpack) X(qconv) X(qdepthwise_pack) X(qdepthwise)

// The kernels that are there for activations in bfloat16 too, under the number
// behind the last of PS_KERNELS that they have in it.
#define PS_STORED(X)                                                           \
  X(widen) X(narrow) X(add) X(act) X(act_backward)                             \
  X(maxpool) X(maxpool_backward) X(avgpool) X(avgpool_backward)                \
  X(globalpool) X(globalpool_backward) X(transpose) X(dropout) X(strip)        \
  X(channel_shuffle) X(pad2d) X(pad2d_backward)                                \
  X(stochastic_depth)                                                          \
  X(pointwise) X(bn_stats) X(bn_apply) X(bn_grad) X(bn_grad_apply)             \
  X(bn_apply_act) X(bn_grad_act) X(bn_grad_apply_act)                          \
  X(layer_norm) X(layer_norm_backward) X(group_norm_stats) X(group_norm)       \
  X(group_norm_grad) X(group_norm_backward) X(rgb_pad) X(rgb) X(rgb_weight)    \
  X(depthwise) X(depthwise_data) X(depthwise_weight)                           \
  X(pack) X(pad) X(igemm) X(wgrad)

#define PS_NUMBER(name) ps_k_##name,
enum { PS_KERNELS(PS_NUMBER) PS_KERNEL_COUNT };

// One kernel launch of a command list.
typedef struct {
  int64_t kernel, tasks;
  const void *args;
} ps_command;

// Memory of the calling thread's own, for the time of a task: PS_SCRATCH bytes.
#define PS_SCRATCH (4 << 20)
float *ps_scratch(void);

// The kernels of each instruction set, for activations in float32 and in bfloat16.
// The latter have those of PS_STORED alone.
extern const ps_kernel ps_generic[], ps_avx2[], ps_avx512[];
extern const ps_kernel ps_dot128[], ps_dot256[], ps_dot512[], ps_dottiles[], ps_dottiles_emulated[]; // of PS_DOT_KERNELS
int ps_tiles_right(void); // whether the processor's tiles compute what they should
extern const ps_kernel ps_generic_bf16[], ps_avx2_bf16[], ps_avx512_bf16[], ps_avx512bf16_bf16[];
extern const ps_kernel ps_avx512bf16fma_bf16[]; // of pack, igemm and wgrad

// Zeros that padding points at; a tap's reduction is at most this long.
#define PS_ZEROS 16384
extern const float ps_zeros[PS_ZEROS];

#endif
