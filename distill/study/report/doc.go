// Package report renders the outcome of a compression study: which models were
// made, how large their files are, how well they classify, and how they were
// trained.
//
// A study fills in a [Results] and calls [WriteAll], which writes five files
// into one folder:
//
//	results.json   every figure, for other programs
//	report.md      tables and chart for a forge or a text editor
//	report.html    one self-contained page: no script, no outside resource
//	chart.png      model size against accuracy, 192 dpi
//	chart.svg      the same chart as vectors
//
// The files are rendered in memory first and moved into place together at the
// end, so a full disk or an unwritable folder leaves no partial file behind.
// For a terminal, [Results.Tables] and [WriteTable] give the same tables as
// aligned plain text.
//
// # Conventions
//
// Accuracies and probabilities are fractions in [0, 1] in Go and in JSON, and
// percentages with two decimals wherever a person reads them. Sizes are the
// exact bytes of the file that was written. A figure that was not measured is
// zero where zero cannot be measured (parameters, bytes, images per second) and
// nil elsewhere; it is shown as an en dash. NaN and infinities are refused with
// an error that names the field.
//
// Where there are test pictures, tables and the chart show the accuracy on them,
// with the one on the validation pictures beside it. Every accuracy has its 95 %
// confidence interval (metrics.Wilson). Of several seeds the figures are means,
// with their standard deviation, and the rows of a table are compared seed by
// seed. A study of one seed says so.
//
// Published figures stand in the tables only where the study ran on the data
// that they were measured on; else they have a table of their own.
//
// # results.json
//
// The names of the JSON fields are a public interface: docs/json.md has them
// all. Every field of a row is always present; what was not measured is null
// where it could be zero. Lists are never null.
package report
