// The kernels on activations in bfloat16 for any machine.
#define VL 4
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define PS_TABLE ps_generic_bf16
#include "bfloat16.h"
