// The arguments of the kernels, but for those of convolutions and matrix products, which
// args_conv.h has. Every field is eight bytes wide, so that the Go structs in args.go have
// the same layout on every machine; TestArgumentsAreThoseOfC compares them field by field.
#ifndef POTSTILL_ARGS_H
#define POTSTILL_ARGS_H

#include <stdint.h>

// bfloat16: the upper half of a float32.
typedef struct {
  uint16_t bits;
} bf16;

// An element of an activation, or of its gradient, as it is stored: each of the two
// tables of kernels is compiled for one type.
#ifdef PS_BFLOAT16
typedef bf16 elem;
#else
typedef float elem;
#endif

// widen: stored elements to float32; narrow: float32 to stored elements.
typedef struct {
  const void *x;
  void *y;
  int64_t n;
} cast_args;

typedef struct {
  float *y;
  int64_t n;
  double value;
} fill_args;

// A span is up to PS_SPAN consecutive elements of several tensors: one task of
// an element-wise kernel over many tensors.
typedef struct {
  float *p;       // the tensor that is written
  const float *g; // the one that is read: gradient, source
  float *m, *v;   // optimizer state
  int64_t n;
} span;

#define PS_SPAN 16384

typedef struct {
  elem *y;
  const elem *const *x; // k pointers
  const double *w;       // k factors
  int64_t k, n;
} add_args;

// The activations, numbered as engine.Func.
enum {
  PS_IDENTITY, PS_RELU, PS_RELU6, PS_CLIP, PS_LEAKY_RELU, PS_THRESHOLDED_RELU, PS_HARD_SIGMOID, PS_HARD_SWISH,
  PS_ABS, PS_NEG, PS_RECIPROCAL, PS_SQRT, PS_SOFTSIGN, PS_EXP, PS_ELU, PS_CELU, PS_SELU, PS_SIGMOID, PS_SILU,
  PS_TANH, PS_GELU, PS_GELU_TANH, PS_MISH, PS_SOFTPLUS, PS_LOG, PS_ERF, PS_POW
};

// An activation and what it is computed with: engine.Act and its Constants.
typedef struct {
  int64_t f;
  double a, b, c;
} ps_act;

typedef struct {
  const elem *x, *dy; // act_backward: x is x or y, as engine.Act.FromX has it
  elem *y;             // act_backward: dx
  int64_t n;
  ps_act act;
} act_args;

// What a window covers along an axis: the pixels first, first + dilation and so on
// before end. The divisor of a mean is the product of those of both axes.
typedef struct {
  int64_t first, end, divisor;
} pool_span;

typedef struct {
  const elem *x, *dy;
  elem *y; // or dx
  float *scratch; // of the gradients in bfloat16: dx in float32
  const pool_span *row_spans, *col_spans; // oh and ow of them
  int64_t n, h, w, c, oh, ow, dilh, dilw;
  int64_t wide;  // of globalpool: y is float32, and so is dy of its gradient
  int64_t apart; // windows do not overlap, and there is nothing between their pixels
  int64_t rows; // of y over all pictures, a task; channels, of globalpool; the gradients have a task a picture
} pool_args;

// y[n][j][i] = x[n][i][j] for each n: NHWC to NCHW and back.
typedef struct {
  const elem *x;
  elem *y;
  int64_t n, rows, cols;
} transpose_args;

typedef struct {
  const elem *x;
  const uint32_t *counter;
  elem *y;
  int64_t n, stream, threshold;
  double scale;
} dropout_args;

// As dropout, for n images of `each` elements.
typedef struct {
  const elem *x;
  const uint32_t *counter;
  elem *y;
  int64_t n, each, stream, threshold;
  double scale;
} depth_args;

enum { PS_PRODUCT, PS_QUOTIENT, PS_LARGER, PS_SMALLER, PS_LARGER_BACKWARD, PS_SMALLER_BACKWARD };

typedef struct {
  const elem *a, *b, *dy;
  elem *y;
  int64_t n, op;
} pointwise_args;

typedef struct {
  const float *x, *w, *b, *dy; // w and b may be null
  float *y;                    // y or dx, which may be null
  float *dw, *db;              // may be null
  double *part;                // tasks × 2 × c partial sums
  int64_t m, c;                // rows of an image, channels
  int64_t stride;              // from one image's w to the next's
  int64_t rows, chunks;        // rows a task, tasks an image
  int64_t prelu, one;          // w are slopes; it is one for all channels
  double lo, hi, gain;         // of engine.FakeQuant
} channel_args;

typedef struct {
  const float *x, *dy; // the gradient's x is y
  float *y;            // y or dx
  int64_t m, c;
  int64_t rows; // rows a task
  int64_t log;
} softmax_args;

typedef struct {
  const float *x, *t, *dloss;
  float *y;               // the loss or dx
  double *part;           // of each task
  int64_t n, each, parts; // elements, those of a task; tasks
} mse_args;

// y[r][y0+c] = x[r][x0+c] for c < n; with fill the rest of y's rows is zero.
typedef struct {
  const elem *x;
  elem *y;
  int64_t m, xc, x0, yc, y0; // rows; channels of x and y, and the first that is moved
  int64_t n, fill;
  int64_t rows, tasks; // rows a task
} strip_args;

// A picture x [h][w][c] with something around it, y [oh][ow][c]; backwards x is dy
// and y is dx.
typedef struct {
  const elem *x;
  elem *y;
  float *scratch; // of the gradient in bfloat16: dx in float32
  const int64_t *row_from, *col_from; // the pixel that each row and column of y repeats, or -1
  int64_t n, h, w, c, oh, ow;
  int64_t rows; // of y, a task
  double value;
} pad2d_args;

// y[c] = x[c]·s[c]^-beta, s[c] = k + scale·Σx² from c-before to c+behind
typedef struct {
  const float *x, *dy;
  float *y;       // or dx
  float *scratch; // c floats a task
  int64_t m, c, before, behind;
  int64_t rows; // rows a task
  double scale, beta, k;
} local_response_args;

// y[r][j·groups+i] = x[r][i·each+j]
typedef struct {
  const elem *x;
  elem *y;
  int64_t m, groups, each; // rows of groups·each channels
  int64_t rows;            // rows a task
} shuffle_args;

typedef struct {
  const float *x, *t, *dloss; // logits; target or teacher's logits
  float *y;                   // loss or dx
  int64_t n, k;
  double param; // label smoothing, or temperature
} loss_args;

typedef struct {
  const elem *x, *dy;
  const float *gamma, *beta;
  const float *mean, *var;     // evaluation: the running statistics
  float *mu, *r;               // training: the batch's
  float *run_mean, *run_var;   // moved by bn_finish
  double *part;                // tasks × 2 × c partial results
  elem *y;                     // y or dx
  float *dgamma, *dbeta;
  float *coef;                 // 3 × c, what bn_grad_apply multiplies with
  int64_t m, c;                // rows (pixels) and channels
  int64_t rows;                // rows, or pooled rows of pixels, a task
  int64_t tasks;
  int64_t n, h, w, oh, ow, kernel; // kernel > 1: pooling with kernel = stride
  int64_t act, eval; // act: Identity, ReLU or ReLU6
  ps_act more;       // another activation, for the kernels of batchnorm_act.h
  int64_t from_x;    // whose slope is computed from its argument
  float *scratch;    // of each task three times `block` floats
  int64_t block;
  double eps, momentum;
} bn_args;

typedef struct {
  const float *w, *bias, *gamma, *beta, *mean, *var;
  float *wout, *bout;
  int64_t k, o;
  double eps;
} fold_args;

typedef struct {
  const elem *x, *dy;
  const float *gamma, *beta;
  elem *y;      // y or dx
  double *part; // tasks × 2 × c partial sums
  int64_t m, c; // rows (pixels) and channels
  int64_t rows; // rows a task
  double eps;
} layer_norm_args;

typedef struct {
  const double *part; // parts × 2 × c
  float *dgamma, *dbeta;
  int64_t c, parts;
} norm_total_args;

typedef struct {
  const elem *x, *dy;
  const float *gamma, *beta;
  float *mu, *r;               // of each image's groups
  elem *y;                     // y or dx
  double *part;                // tasks × 2 × c partial results
  float *coef;                 // of each image 2 × groups, what group_norm_backward multiplies with
  int64_t m, c, groups;        // pixels of an image, channels
  int64_t rows, chunks;        // pixels a task, tasks an image
  double eps;
} group_norm_args;

typedef struct {
  const span *spans;
  const float *hyper, *scale;
  double beta1, beta2, eps, decoupled; // SGD: beta1 is the momentum, decoupled says Nesterov
} optim_args;

// p ← (1-a)·p·keep + b·g with a = *s: EMA (a = 1-decay) and accumulation.
typedef struct {
  const span *spans;
  const float *s;
  int64_t ema;
  double weight;
} mix_args;

typedef struct {
  const span *spans; // g is read
  double *part;
  float *norm, *scale;
  int64_t tasks;
  double max_norm;
} clip_args;

// What a link of a chain runs.
enum { CHAIN_PAD, CHAIN_RGB, CHAIN_RGB_POOL, CHAIN_PRODUCT, CHAIN_DEPTHWISE, CHAIN_MAXPOOL, CHAIN_AVGPOOL };
enum { CHAIN_LINKS = 32 }; // of one chain, at most

// A link computes rows of a picture from rows of what the link before it has
// made, or of the chain's x. Row r of x is at x + r·in, and of y at y + r·out.
typedef struct {
  int64_t kind;
  const void *args;      // of the kind, for one picture; x and y are filled in
  const int64_t *need;   // for each row of y the first row of x that it needs, and the end
  int64_t in, out;       // floats of a row of x and of y
  int64_t rows;          // of a picture of y
  int64_t grain;         // how many of them are computed at a time
  int64_t memory, room;  // where y lies in a thread's memory, in floats, and how many rows fit; not of the last link
} chain_link;

// A task is `rows` rows of one picture of the last link's y. It borrows one of
// `slots` memories for the time: where busy is zero.
typedef struct {
  const chain_link *links;
  const float *x;
  float *y;
  float *memory;
  int64_t *busy;
  int64_t count;       // links
  int64_t picture;     // floats of a picture of x
  int64_t tiles, rows; // tasks a picture; rows a task
  int64_t slots, slot; // threads; floats of one's memory
} chain_args;

// Codes in uint8. A code q of x stands for (q-xzero)·m or for q-xzero times what a
// multiplier says: see engine's ops of the kernels' names.
typedef struct {
  const void *x, *b;
  void *y;
  int64_t n, each; // elements or rows, and how many of them a task has
  int64_t c, yc, y0, pixels;
  int64_t xzero, bzero, yzero, lo, hi;
  double m, mb;
} codes_args;

typedef struct {
  const uint8_t *x;
  uint8_t *y;
  const pool_span *row_spans, *col_spans; // oh and ow of them
  int64_t h, w, c, oh, ow, dilh, dilw;
  int64_t xzero, yzero, lo, hi;
  double m;
} qpool_args;

// In x itself, whose pixels have a multiple of four channels a group; in a task's copy
// of rows of x; gathered for each pixel.
enum { PS_QCONV_GATHERED, PS_QCONV_DIRECT, PS_QCONV_ROWS };

typedef struct {
  const uint8_t *x;
  const int8_t *w; // [k][o]
  const int32_t *bias;
  const float *m;
  void *packed; // biases and weights, as qpack leaves them
  void *y;
  const codes_args *sum; // of y and its b, in place of y; null if there is none
  int64_t n, h, w_, c, oh, ow, o, kh, kw, sh, sw, top, left, dilh, dilw;
  int64_t groups, cg, og; // channels of a group
  int64_t k;              // kh·kw·cg
  int64_t way;            // PS_QCONV_…: where the elements of a pixel are read
  int64_t floats;         // y is float32
  int64_t xzero, yzero, lo, hi;
  int64_t block, splits; // pixels a task, of qdepthwise rows; parts of the outputs
  int64_t threads;       // that share the tasks
} qconv_args;

#endif
