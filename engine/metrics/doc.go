// Package metrics has the figures by which classifiers are judged: accuracy
// with its confidence interval, top-5 accuracy, precision, recall and F1 of each
// class, the mean loss, and how far a net's probabilities can be taken at their
// word. A [Scores] adds up images, and [Scores.Figures] gives the figures.
//
// They are defined as scikit-learn defines them (accuracy_score,
// top_k_accuracy_score, precision_recall_fscore_support, log_loss), and the
// tests hold them to it.
//
// Figures of several runs that differ in their seed alone are summed up by
// [Spread]. [Thousands] writes counts.
package metrics
