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
//	chart.png      model size against validation accuracy, 192 dpi
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
// # results.json
//
// The names of the JSON fields are a public interface. The top level holds
// study, title, data, device, threads, seed, version, started (RFC 3339),
// seconds, command, recipe, published_data, rows, curves, training, confusions,
// mistakes and checks.
//
//	data        name, fingerprint, classes, train, val, size
//	rows        table, step, name, method, parent, params, bytes, val_accuracy,
//	            val_loss, images_per_second, published {bytes, val_accuracy}, notes
//	curves      rate, published, points [{params, bytes, val_accuracy, round, widths}]
//	training    step, epochs [{epoch, train_loss, train_accuracy, val_loss,
//	            val_accuracy, lr, images_per_second}]
//	confusions  step, matrix (rows are true classes, columns predictions; counts)
//	mistakes    step, file, true, predicted, prob
//	checks      name, want, got, pass
//
// Every field of a row is always present; val_accuracy, val_loss and published
// are null where there is nothing to say. The lists are never null.
package report
