// What the Go side and the C kernels agree on: the list of kernels and the
// arguments of each. Every field is eight bytes wide, so that the Go structs in
// args.go have the same layout on every machine; the suite in backendtest
// would catch a field out of order.
//
// A kernel is a function of its arguments and a task number. Tasks of one
// launch touch disjoint outputs and may run in any order on any thread; how
// work is cut into tasks depends on shapes alone, so results do not depend on
// the number of threads.
#ifndef POTSTILL_KERNELS_H
#define POTSTILL_KERNELS_H

#include <stdint.h>

typedef void (*ps_kernel)(const void *args, int64_t task);

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
  X(qmaxpool) X(qavgpool) X(qpack) X(qconv) X(qdepthwise)

// The kernels that are there with VNNI, too.
#define PS_VNNI_KERNELS(X) X(qpack) X(qconv)

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

// dst: for each group, panels of columns (see panel_at); in each panel, for
// each tap and each k, the panel's columns.
typedef struct {
  const float *w;
  float *dst;
  const int64_t *taps; // ntaps weight taps
  int64_t ntaps, kc, gn, groups;
  int64_t tap_stride, k_stride, n_stride, g_stride, g_floats;
} pack_args;

typedef struct {
  const elem *x;
  elem *y; // rgb_pad: of float32
  int64_t n, h, w, c;
  int64_t top, left, bottom, right;
} pad_args;

// The implicit matrix product: for each pixel (i, j) of a grid,
//   y[yi0+i·yis, yj0+j·yjs, :] = epilogue(Σ_t Σ_k x[i·sh+dh_t, j·sw+dw_t, k] · b[t][k][:])
typedef struct {
  const float *x, *b, *bias, *res;
  float *y;
  const int64_t *taps; // ntaps pairs dh, dw
  int64_t ntaps, kc;
  int64_t n, gh, gw;
  int64_t h, w, c, sh, sw;
  int64_t yh, yw, yc, yi0, yj0, yis, yjs;
  int64_t groups, gk, gn, g_floats;
  int64_t act; // Identity, ReLU or ReLU6, and in more another one, taken behind it
  ps_act more;
  int64_t block, splits; // pixels a task; parts that the panels are split in
} igemm_args;

// u[r·t+s][k][n] = (G·w·Gᵀ)[r][s], in panels as pack_args has them.
typedef struct {
  const float *w;
  float *u;
  int64_t t, kc, gn, tap_stride, k_stride, n_stride, u_stride, flip;
  int64_t rows;   // of kc, a task
  int64_t kb, nb; // rows and columns of a block, where the matrix has blocks along its diagonal alone, else 0
} wino_weight_args;

// A 3x3 convolution with stride one in tiles of t×t pixels.
typedef struct {
  const float *x, *u, *bias, *res;
  float *v; // x transformed, or null: then the tasks do it
  float *y;
  int64_t t, n, h, w, c, oh, ow, o;
  int64_t xc, yc;            // channels of x and y, of which this is one group
  int64_t top, left, th, tw; // padding; tiles down and across
  int64_t u_stride, v_stride; // from one place of the tile to the next
  int64_t act;
  ps_act more;           // as of igemm_args
  int64_t block, splits; // tiles a task; parts that the panels are split in
} wino_args;

// The gradient of its weights.
typedef struct {
  const float *x, *dy;
  float *v, *d;   // x and dy transformed, or null: then the tasks do it
  float *du;      // `splits` partial sums
  float *dw, *db; // db may be null; it points to one sum of each task
  int64_t t, n, h, w, c, oh, ow, o;
  int64_t xc, yc, kb, nb; // as of wino_args and wino_weight_args; kb and nb are c and o without blocks
  int64_t top, left, th, tw;
  int64_t v_stride, d_stride, du_stride; // from one place of the tile to the next
  int64_t block, splits, kblock, rows; // tiles at a time; rows of du and of dw a task
} wino_grad_args;

// dw[t][k][o] = Σ_{pixels (i,j)} x[i·sh+dh_t, j·sw+dw_t, k] · dy[i, j, o]
typedef struct {
  const void *x, *dy;
  float *dw, *db;      // db may be null; both point to the partial results of the splits
  const int64_t *taps; // ntaps pairs dh, dw
  int64_t ntaps, kc;
  int64_t n, gh, gw;
  int64_t h, w, c, sh, sw;
  int64_t o, groups, gk, gn;
  int64_t units, utaps, kblock; // a unit is utaps taps and kblock rows of each
  int64_t each;                 // pixels of a split
  int64_t dw_floats;
  // For pairs of pixels (gemm_weight_bf16.h), where `each` is a number of whole rows, or
  // even in a single row. At most: rows of dy in a chunk, pixels of a row, pairs of a
  // row of x in a class; and the columns of x at which kc values can be read.
  int64_t rows, cut, places, starts;
} wgrad_args;

// y[i] = Σ_s x[s·stride + i]
typedef struct {
  const float *x;
  float *y;
  int64_t n, splits, stride;
} reduce_args;

// A 3x3 convolution of three channels; h and w_ include the padding.
typedef struct {
  const float *x, *w, *bias;
  const elem *dy;
  elem *y;
  float *dw, *db;
  int64_t n, h, w_, oh, ow, o, stride, act;
  ps_act more; // as of igemm_args
  int64_t rows; // output rows a task
} rgb_args;

typedef struct {
  const elem *x, *dy, *residual;
  const float *w, *bias;
  elem *y;
  float *dw, *db;
  int64_t n, h, w_, c, oh, ow, kh, kw;
  int64_t sh, sw, top, left, dilh, dilw; // strides, padding, dilations
  int64_t flip, act;
  ps_act more; // as of igemm_args
  int64_t rows, tasks; // output rows a task
} depthwise_args;

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
enum { CHAIN_PAD, CHAIN_RGB, CHAIN_PRODUCT, CHAIN_DEPTHWISE, CHAIN_MAXPOOL, CHAIN_AVGPOOL };
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
  int64_t n, h, w_, c, oh, ow, o, kh, kw, sh, sw, top, left, dilh, dilw;
  int64_t groups, cg, og; // channels of a group
  int64_t k;              // kh·kw·cg
  int64_t way;            // PS_QCONV_…: where the elements of a pixel are read
  int64_t floats;         // y is float32
  int64_t xzero, yzero, lo, hi;
  int64_t block, splits; // pixels a task, of qdepthwise rows; parts of the outputs
} qconv_args;

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
extern const ps_kernel ps_vnni256[], ps_vnni512[]; // of PS_VNNI_KERNELS
extern const ps_kernel ps_generic_bf16[], ps_avx2_bf16[], ps_avx512_bf16[], ps_avx512bf16_bf16[];

// Zeros that padding points at; a tap's reduction is at most this long.
#define PS_ZEROS 16384
extern const float ps_zeros[PS_ZEROS];

#endif
