// What the files of the stand-in for cuBLASLt share.
#ifndef FAKE_CUBLASLT_PART_H
#define FAKE_CUBLASLT_PART_H

#include "fake.h"
#include "real.h"

// The algorithms: one sum after the other, sums in two parts that are added
// from the workspace, and sums in two parts added in place in any order.
enum { WHOLE, PARTS, IN_PLACE, ALGORITHMS };

// What becomes of the bias: it is added, or made of op(a), or of op(b).
enum { ADDED, OF_A, OF_B };

// A job is one product of matrices stored column by column: d = alpha·op(a)·op(b) + beta·c + bias.
// With grad the bias is not added but made: the sums over k of op(a) or op(b).
typedef struct {
	int kind, bf16, out_bf16, tf32, trans_a, trans_b, grad;
	uint64_t m, n, k;
	int64_t lda, ldb, ldd;
	float alpha, beta;
	const void *a, *b, *c;
	void *bias, *d, *ws;
} lt_job;

// fake_lt_biases returns the elements of the bias: as many as d has rows, but for a gradient of b's.
uint64_t fake_lt_biases(const lt_job *j);

// fake_lt_run does the job, an lt_job.
CUresult fake_lt_run(const void *job);

#endif
