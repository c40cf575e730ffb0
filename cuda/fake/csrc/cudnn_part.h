// What the two halves of the stand-in for cuDNN share: cudnn.c has the calls and
// checks what they are given, cudnn_conv.c the arithmetic.
#ifndef FAKE_CUDNN_PART_H
#define FAKE_CUDNN_PART_H

#include "fake.h"

enum { FORWARD, BACKWARD_DATA, BACKWARD_FILTER, PASSES };
enum { IMPLICIT_GEMM = 0, IMPLICIT_PRECOMP_GEMM = 1 };   // forward
enum { ALGO_0 = 0, ALGO_1 = 1, ALGO_3 = 3 };             // the backward passes; 3 is the filter's only

// A job is one pass of a convolution, all that it takes.
typedef struct fake_conv {
	int pass, algo, bf16, tf32;
	int n, h, w, c, o, kh, kw, oh, ow;
	int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
	float alpha, beta;
	const void *x, *f, *y; // the result is written
	int fused, relu;       // forward: bias and alpha2·z are added, of the result's type, and ReLU is taken
	float alpha2;
	const void *bias, *z;
	void *ws;
	size_t ws_bytes;
} fake_conv;

size_t fake_conv_x(const fake_conv *c); // elements
size_t fake_conv_f(const fake_conv *c);
size_t fake_conv_y(const fake_conv *c);
// fake_conv_workspace is what the algorithm takes, in bytes.
size_t fake_conv_workspace(const fake_conv *c);
// fake_conv_run does the job: 0, or a CUresult.
CUresult fake_conv_run(const void *job);

#endif
