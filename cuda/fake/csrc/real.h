// Numbers as the stand-ins for cuDNN and cuBLASLt store and round them.
#ifndef FAKE_REAL_H
#define FAKE_REAL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline float real_from_bits(uint32_t bits) {
	float f;
	memcpy(&f, &bits, 4);
	return f;
}

static inline uint32_t real_bits(float f) {
	uint32_t bits;
	memcpy(&bits, &f, 4);
	return bits;
}

// real_round rounds to the nearest number with drop fewer bits of mantissa, of
// two to the even one. NaN stays NaN.
static inline float real_round(float f, int drop) {
	uint32_t b = real_bits(f);
	if ((b & 0x7fffffff) > 0x7f800000)
		return real_from_bits(b | 0x400000);
	b += (1u << (drop - 1)) - 1 + (b >> drop & 1);
	return real_from_bits(b & ~((1u << drop) - 1));
}

// real_load returns n numbers as floats in new memory, NULL if there is none
// left. tf32 rounds them as tensor cores do with floats.
static inline float *real_load(const void *from, size_t n, int bf16, int tf32) {
	float *to = malloc(n * sizeof *to + 1);
	if (!to)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (bf16)
			to[i] = real_from_bits((uint32_t)((const uint16_t *)from)[i] << 16);
		else
			to[i] = tf32 ? real_round(((const float *)from)[i], 13) : ((const float *)from)[i];
	return to;
}

static inline void real_store(void *to, size_t i, int bf16, float f) {
	if (bf16)
		((uint16_t *)to)[i] = (uint16_t)(real_bits(real_round(f, 16)) >> 16);
	else
		((float *)to)[i] = f;
}

static inline float real_at(const void *from, size_t i, int bf16) {
	return bf16 ? real_from_bits((uint32_t)((const uint16_t *)from)[i] << 16) : ((const float *)from)[i];
}

// real_meet says whether two ranges of bytes have any in common.
static inline int real_meet(const void *a, size_t na, const void *b, size_t nb) {
	return (uintptr_t)a < (uintptr_t)b + nb && (uintptr_t)b < (uintptr_t)a + na;
}

#endif
