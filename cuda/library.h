// What the bindings of cuDNN, cuBLASLt and NCCL share.
#ifndef POTSTILL_CUDA_LIBRARY_H
#define POTSTILL_CUDA_LIBRARY_H

// ps_failure is the last call that failed: the function's name, its code's name
// and number, and what the library says of it. The code is empty when it was
// the context that could not be made current; number is then the driver's.
typedef struct ps_failure {
    const char *call; // a literal
    int number;
    char code[80];
    char text[512];
} ps_failure;

#endif
