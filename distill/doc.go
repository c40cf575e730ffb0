// Package distill has the losses by which a student learns from teachers: a sum of
// methods on logits and on features (see [Spec] and docs/distillation.md). It is a
// train.Objective; package fit runs a training with it, from images to a checkpoint.
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
// student run in one graph; the teacher is in evaluation mode always.
//
// # What the teacher sees
//
// Both see the same pictures, flipped, turned and cropped alike ("a good teacher
// is patient and consistent": Beyer et al., 2022, arXiv:2106.05237), each as its
// own file says that its images are prepared ([Loss.Prepare]). A teacher that
// differs in the normalization alone has its input converted in the graph; one
// with another resize or size gets a second preparation of each picture
// (data.LoaderOptions.Views).
package distill
