// The kernels of products of codes, compiled by the including file for an instruction set
// that sums four products of bytes in one instruction, and the table of them in the order
// of PS_DOT_KERNELS.
#define PS_DOT
#pragma GCC diagnostic ignored "-Wunused-function" // what computes no products
#include "kernels.h"
#include "simd.h"

#include "nearest.h"
#include "quantize.h"
#include "qadd.h"
#include "qconv2d.h"
#include "qdepthwise.h"

#define ENTRY(name) name,
const ps_kernel PS_TABLE[] = {PS_DOT_KERNELS(ENTRY)};
