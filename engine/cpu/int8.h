// Pointwise convolutions in integers; engine/op_int8.go has the algebra. The
// kernels need the instruction that multiplies unsigned by signed bytes and
// adds four products to 32 bits without saturation on the way. They are
// compiled in int8_vnni.c and stand in the table of the variant that defines
// PS_INT8; elsewhere the entries are null, and compile.go refuses the ops.
#ifndef POTSTILL_INT8_H
#define POTSTILL_INT8_H
#include "kernels.h"

// A task: the codes, scale and shift of sixteen output channels.
typedef struct {
  const float *w;     // [i][o]
  uint8_t *codes;     // [o/16][i/4][16][4]
  float *scale, *shift;
  int64_t i, o, per_channel;
} quantize_args;

// A task: `block` pixels of y. Each is a pixel of x (window = 1) or, pooled, the
// largest of two rows of two (window = 2).
typedef struct {
  const float *x;
  const uint8_t *codes;
  const float *scale, *shift, *bias; // bias may be null
  float *y;
  int64_t pixels, i, o, block;
  int64_t window, h, w, oh, ow; // of x and y; used where there is pooling
  double max;
} pointwise_int8_args;

// The bytes of a task's pixels, each padded to 16 channels, are at most so many.
#define PS_INT8_BYTES 65536

#ifdef PS_INT8
void ps_quantize_weight(const void *args, int64_t task);
void ps_pointwise_int8(const void *args, int64_t task);
#define quantize_weight ps_quantize_weight
#define pointwise_int8 ps_pointwise_int8
#else
#define quantize_weight 0
#define pointwise_int8 0
#endif

// Whether this machine has the instruction.
int ps_has_int8(void);
#endif
