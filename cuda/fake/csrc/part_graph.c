// A stand-in for libcudnn_graph.so.9, one of the parts that cuDNN opens by
// name. That it is open is all that the stand-in for cuDNN asks of it.
__attribute__((visibility("default"))) int fakeCudnnGraph(void);
int fakeCudnnGraph(void) { return 9; }
