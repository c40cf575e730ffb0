// Package fit trains image classifiers, alone or under a teacher. It is the one
// way from images to a checkpoint: [Run] joins a net of package layers, a trainer
// of package train, an objective of package distill, and files of package
// checkpoint.
//
// # What a run leaves behind
//
// In Job.Dir:
//
//	best.safetensors       the model with the best validation accuracy
//	last.safetensors       the model after the last step saved, and all that a
//	                       resumed run needs: optimizer state, averages, position
//	metrics.jsonl          a line of figures an epoch, see train.MetricsWriter
//	events.out.tfevents.*  the same for TensorBoard
//
// While a run is under way its folder is locked (run.lock), and a folder that
// holds a run takes another only if Job.Replace says so.
//
// Checkpoints are replaced atomically, so a run may be killed at any moment.
// Resumed from last.safetensors it ends with the same weights, to the bit, as
// one that was never stopped. Two runs of the same job write the same
// best.safetensors, byte for byte: it holds no times. The metrics and the
// events are written anew when a run is resumed, from the history that
// last.safetensors holds, and so end up with one entry an epoch.
//
// # Fine-tuning
//
// A pruned net is trained again by a job with Init. Its optimizer is a matter
// of Job.Config: with train.AdamW (or any other that moves weights) this is
// fine-tuning as one would expect. With train.Stale it is the published mode of
// the study, in which the optimizer had been built for the net before pruning
// and never again: no weight moves, only BatchNorm's running statistics do, and
// the pruned net's accuracy stays where the cut has left it.
package fit
