package train

import (
	"encoding/json"
	"fmt"
	"io"
)

// A MetricsWriter writes an epoch's figures as one line of JSON
// (https://jsonlines.org) with the fields
//
//	epoch              from 1
//	step               steps since the beginning of the run
//	train_loss         mean training loss over the epoch's images, as they were met
//	terms              those of the training loss by name, before they are weighted; only where it has several
//	train_accuracy     share of these images classified right, in [0, 1]
//	val_loss           mean cross-entropy over the validation images
//	val_accuracy       share of the validation images classified right, in [0, 1]
//	lr                 learning rate of the epoch's last step
//	images_per_second  training images a second, evaluation not counted
//	seconds            of training in this epoch, evaluation not counted
//	grad_norm          mean norm of the gradient before clipping; only with clipping
//	best               whether the validation accuracy is the best so far
//
// Each line is one Write, so that a file of them is whole after every epoch. A
// resumed run should write the lines of [Trainer.History] first, into a file
// made anew: the old one may lack the last epoch or have it twice.
type MetricsWriter struct{ w io.Writer }

// NewMetricsWriter returns a writer of lines to w.
func NewMetricsWriter(w io.Writer) *MetricsWriter { return &MetricsWriter{w: w} }

// Epoch writes one line.
func (m *MetricsWriter) Epoch(e EpochInfo) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("metrics of epoch %d: %w", e.Epoch, err)
	}
	if _, err := m.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("metrics of epoch %d: %w", e.Epoch, err)
	}
	return nil
}
