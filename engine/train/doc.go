// Package train fits the parameters of a net to a dataset and measures it.
//
// A [Trainer] builds the training step once for every batch size that occurs
// (the last batch of an epoch may be smaller): forward, loss, gradient,
// clipping, optimizer and weight average are one [engine.Program], and all
// programs share the variables of one [engine.Store]. From then on a step is
// one run that allocates nothing of note.
//
// # What a step does
//
// With the batches x_1 … x_k of one step (k is Config.Accumulate, mostly 1), n_i
// images each:
//
//	g = Σ_i n_i/Σn · ∇loss(x_i)          the gradient of the mean over all images
//	g ← g · min(1, ClipNorm/(‖g‖+1e-6))   if clipping
//	p ← optimizer(p, g, lr(t))            AdamW, Adam, SGD; see OptimizerConfig
//	e ← d·e + (1-d)·p                     if averaging; d = min(EMA, (1+t)/(10+t))
//
// where t counts the steps from 0. The learning rates are PyTorch's (see
// [ScheduleConfig]). Accumulating k batches gives the gradient of one batch of k
// times the size; only BatchNorm and dropout see the small batches. The last
// step of an epoch takes what is left.
//
// The average e covers parameters and running statistics alike. When it is on,
// evaluation and the "best" snapshot use it.
//
// # Where the images are made
//
// Where it can be (see Config.HostAugment), the training set is taken to the
// device once, in bytes, and a step begins with [engine.Augment]: what goes to the
// device at each step is the numbers of the images and the random choices that the
// loader has drawn. The images, and so the results, are those that the loader
// would make, bit for bit.
//
// # Determinism and resuming
//
// The order of the images, every augmentation and every dropout mask depend on
// Config.Seed and on the place in the run alone. A [Snapshot] of kind "last"
// holds all that a run needs, and is taken between two steps only: after every
// epoch, every Config.SaveEvery steps, and when the context is canceled. A run
// resumed from it ends with the same weights, to the bit, as one that was never
// stopped. A caller that writes snapshots atomically is therefore safe against
// being killed at any moment.
//
// # Contracts with the net
//
// The images are NHWC, the logits [N, classes]. The graph's input
// [engine.DropoutInput], if there is one, is bound to the seed and to the number of
// the batch. The counters of a [Tracker] are brought up to date whenever
// a snapshot is taken and when a run ends.
package train
