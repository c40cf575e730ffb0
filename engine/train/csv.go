package train

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// csvColumns are those of a [CSVWriter], which are the fields of a
// [MetricsWriter] of the same names.
var csvColumns = []string{"epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr",
	"images_per_second", "seconds", "grad_norm", "best"}

// A CSVWriter writes an epoch's figures as one line of comma-separated values
// (RFC 4180) under a line of headings. What was not measured, the norm of the
// gradient without clipping, is empty. Each line is one Write.
type CSVWriter struct{ w io.Writer }

// NewCSVWriter returns a writer of lines to w. [CSVWriter.Head] comes first,
// unless w goes on where a table is.
func NewCSVWriter(w io.Writer) *CSVWriter { return &CSVWriter{w: w} }

// Head writes the line of headings.
func (c *CSVWriter) Head() error { return c.line(csvColumns) }

// Epoch writes one line.
func (c *CSVWriter) Epoch(e EpochInfo) error {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	norm := ""
	if e.GradNorm != 0 {
		norm = number(e.GradNorm)
	}
	err := c.line([]string{strconv.Itoa(e.Epoch), strconv.Itoa(e.Step), number(e.TrainLoss), number(e.TrainAccuracy), number(e.ValLoss),
		number(e.ValAccuracy), number(e.LR), number(e.ImagesPerSecond), number(e.Seconds), norm, strconv.FormatBool(e.Best)})
	if err != nil {
		return fmt.Errorf("metrics of epoch %d: %w", e.Epoch, err)
	}
	return nil
}

func (c *CSVWriter) line(cells []string) error {
	w := csv.NewWriter(c.w) // which writes at once when it is flushed
	if err := w.Write(cells); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}
