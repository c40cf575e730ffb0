// The kernels of PS_STORED once more, from the same text, for activations in
// bfloat16: elem is their type here. What they compute, they compute in float32.
#define PS_BFLOAT16
#include "kernels.h"
#include "simd.h"

#include "cast.h"

#define ENTRY(name) [ps_k_##name] = name,
const ps_kernel PS_TABLE[PS_KERNEL_COUNT] = {PS_STORED(ENTRY)};
