// Package distill trains image classifiers, alone or under a teacher, and
// measures them. It is the one way from images to a checkpoint: [Train] joins a
// model of package layers, a trainer of package train, and files of package
// checkpoint; [Evaluate] and [Predict] need nothing but such a file's content.
//
// # Knowledge distillation
//
// A student learns from the labels y and from the logits t of a teacher, a
// larger net whose weights are frozen (Hinton, Vinyals and Dean, "Distilling
// the Knowledge in a Neural Network", 2015, arXiv:1503.02531). With the
// student's logits s, temperature T and weight α,
//
//	loss = (1-α)·CE(s, y) + α·T²·KL(softmax(t/T) ‖ softmax(s/T))
//
// where the divergence is summed over classes and divided by the batch size.
// The high temperature shows which wrong answers the teacher holds for nearly
// right; the factor T² keeps the gradient's size independent of T. Teacher and
// student run in one graph and see the same augmented images; the teacher is in
// evaluation mode always. Where its file says that it was trained on images
// normalized otherwise than the student's, its input is converted in the graph.
// A file that says nothing ([Declares]), as other programs' do, gets the
// student's images. Its own resize is not applied: the student's crop decides
// the scale, and a line of the log says so.
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
package distill
