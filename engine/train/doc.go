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
// # Several ranks
//
// With Config.Peers several processes train one net. In an epoch, whose order and
// batches are those of one process, rank r of n takes the batches r, r+n, r+2n and so on;
// each step takes Accumulate batches of every rank, or what is left of the epoch. The
// gradients, each times its batch's share of the step's images, are added up over
// the ranks in the order of these (see [engine.AllReduce]), and all ranks make the same update.
// Batch norms see their rank's batch alone, or with Config.SyncBatchNorm those of all ranks;
// in the first case their running statistics are moved by all batches, in the order in which one
// process would meet them. Every figure is
// gathered, so that all ranks decide alike. With Accumulate 1 a run has the bits of one
// process with Accumulate n, and either can be resumed as the other; with more, ranks add
// up batches before they add up over the ranks, and a run is resumed by as many ranks; so it is
// with SyncBatchNorm, where n ranks come near one process whose batches are n times as large.
//
// # Contracts with the net
//
// The images are NHWC, the logits [N, classes]. The graph's input
// [engine.DropoutInput], if there is one, is bound to the seed and to the number of
// the batch. The counters of a [Tracker] are brought up to date whenever
// a snapshot is taken and when a run ends.
package train
