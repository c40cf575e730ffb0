// The kernels of PS_STORED once more, from the same text, for activations in
// bfloat16: elem is their type here. What they compute, they compute in float32.
#define PS_BFLOAT16
#pragma GCC diagnostic ignored "-Wunused-function" // what has no activations
#ifndef PS_PAIRS // products by widening
#define PS_WIDE
#endif
#include "kernels.h"
#include "simd.h"

#include "cast.h"
#include "activation.h"
#include "elementwise.h"
#include "pointwise.h"
#include "concat.h"
#include "channelshuffle.h"
#include "pad2d.h"
#include "pool2d.h"
#include "batchnorm.h"
#include "batchnorm_act.h"
#include "layernorm.h"
#include "groupnorm.h"
#include "rgb.h"
#include "depthwise_window.h"
#include "depthwise.h"
#include "gemm.h"
#ifdef PS_PAIRS
#include "gemm_weight_bf16.h"
#else
#include "gemm_weight.h"
#endif

#define ENTRY(name) [ps_k_##name] = name,
const ps_kernel PS_TABLE[PS_KERNEL_COUNT] = {PS_STORED(ENTRY)};
