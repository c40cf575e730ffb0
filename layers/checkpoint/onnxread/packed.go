package onnxread

import "github.com/potstill/potstill/layers/checkpoint/named"

// packedBits are the bits of an element of the types of which several lie in a byte,
// the first in its lowest bits.
var packedBits = map[string]int{"uint2": 2, "int2": 2, "uint4": 4, "int4": 4}

// sizeOf returns the bytes of n elements of a type.
func sizeOf(dtype string, n int) int {
	if bits := packedBits[dtype]; bits > 0 {
		return (n*bits + 7) / 8
	}
	return n * named.Size(dtype)
}

// unpack returns elements of less than a byte as bytes, and their type.
func unpack(data []byte, dtype string, n int) ([]byte, string) {
	bits, out := packedBits[dtype], make([]byte, n)
	for i := range out {
		out[i] = data[i*bits/8] >> (i * bits % 8) << (8 - bits)
	}
	if dtype[0] == 'u' {
		for i := range out {
			out[i] >>= 8 - bits
		}
		return out, "uint8"
	}
	for i := range out {
		out[i] = byte(int8(out[i]) >> (8 - bits))
	}
	return out, "int8"
}
