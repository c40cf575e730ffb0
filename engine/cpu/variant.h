// Every kernel, compiled for the instruction set of the including file, and
// the table of them, named PS_TABLE.
#include "kernels.h"
#include "simd.h"

#include "cast.h"
#include "activation.h"
#include "elementwise.h"
#include "pointwise.h"
#include "concat.h"
#include "channelshuffle.h"
#include "pad2d.h"
#include "localresponsenorm.h"
#include "pool2d.h"
#include "loss.h"
#include "batchnorm.h"
#include "batchnorm_act.h"
#include "layernorm.h"
#include "groupnorm.h"
#include "channelwise.h"
#include "softmax.h"
#include "mse.h"
#include "gemm.h"
#include "gemm_weight.h"
#include "rgb.h"
#include "depthwise_window.h"
#include "depthwise.h"
#include "chain.h"
#include "optimizer.h"

#define ENTRY(name) name,
const ps_kernel PS_TABLE[] = {PS_KERNELS(ENTRY)};
