// Package prune makes a trained net narrower by leaving out the channels that
// matter least. Cut takes any net and ranks by a criterion of a table, as the size
// of weights or of BatchNorm's scales, to a ratio or a target: docs/pruning.md has
// the formulas. Slim is the compression study's cut, which the rest of this text
// is about: by BatchNorm's signed scales, after Liu et al., "Learning Efficient
// Convolutional Networks through Network Slimming" (2017), arXiv:1708.06519,
// without its penalty on the scales during training.
//
// # What the study cuts
//
// The channels that one layer makes are a group (layers.Group), with everything
// that they are tied to: batch norms, depthwise convolutions, the other branch
// of a residual sum. The widths of a net are the sizes of its groups in the
// order in which they are made, without the image's channels and the classes.
// Each group is ranked by the scale γ of the last batch norm that it meets,
// signed, the largest first, equal ones in their old order. The best are kept,
// and everything that touches the others goes, rows and columns alike. A group
// that meets no batch norm cannot be cut, and stays under a multiplier.
//
// In the depthwise families (cnn-dwpw, hw7-student) block i, counted from 0,
// widens or narrows from w[i-1] to w[i] channels:
//
//	block 0    conv3x3(3→w[0]) + BN + ReLU6
//	block i    depthwise3x3(w[i-1]) + BN + ReLU6 + pointwise(w[i-1]→w[i])
//
// so that the w[i] channels between two blocks are ranked by the batch norm of
// block i+1, as in the study, and the last width stays.
//
// The kept channels of a width that was cut lie in the order of their rank, as
// in the study's reference; those of a width that stays keep their places. The
// order has no influence on what the net computes, but for rounding.
//
// A channel with γ = β = 0 gives ReLU6(0) = 0 whatever comes in, so that to cut
// such channels alone changes nothing.
//
// # Afterwards
//
// Cut weights are a start, not a result: train them again with fit.Run
// and Job.Init. With an optimizer that moves weights (train.AdamW) that is
// fine-tuning; with train.Stale it is the study's published mode, which moves
// BatchNorm's running statistics alone and does not bring the accuracy back.
package prune
