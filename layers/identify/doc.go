// Package identify finds out which net the tensors of a file are: the family,
// its widths, the number of classes, and which tensor is which.
//
// Names and shapes decide. For every family of package layers there is a
// template, a net whose channel groups (layers.Net.Groups) have unknown sizes:
// wherever a group alone lies on an axis of a tensor, the file's tensor in that
// place says what the size is. So a pruned net is found as easily as a whole
// one, and a family that package layers learns is known here at once.
//
// Tensors come to their places in one of four ways, tried in this order:
//
//  1. by PyTorch's names, whatever their order in the file;
//  2. by structure: tensors whose names differ in the last part only ("weight",
//     "bias", "running_mean", …) are a module, and modules of equal kind
//     (convolution of one kernel, batch norm, linear) follow each other in the
//     file as in the family;
//  3. by structure, the modules in the natural order of their names ("cnn.2"
//     before "cnn.10"), for files whose tensors were sorted;
//  4. by rank alone in the file's order, where names tell nothing ("arr_0").
//
// A net is accepted only where every tensor of the family is there with the
// shape that the widths ask for, and no other. Counters (num_batches_tracked)
// may be missing, as in files of PyTorch before 0.4.1; they start at 0.
//
// Failing that, the net is looked for among the tensors that have the beginning
// of their names in common. What is beside it may be no part of its arithmetic:
// a tensor of no elements, a counter, the weights of the classes in a loss. Two
// nets in one file are refused, for nothing says which is meant.
package identify
