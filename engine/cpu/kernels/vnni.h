// The kernels of products of codes, compiled for an instruction set with VNNI by the
// including file, and the table of them in the order of PS_VNNI_KERNELS.
#define PS_VNNI
#pragma GCC diagnostic ignored "-Wunused-function" // what computes no products
#include "kernels.h"
#include "simd.h"

#include "nearest.h"
#include "quantize.h"
#include "qconv2d.h"
#include "qdepthwise.h"

#define ENTRY(name) name,
const ps_kernel PS_TABLE[] = {PS_VNNI_KERNELS(ENTRY)};
