package fit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/potstill/potstill/engine/train"
)

// eventSuffix ends the names of the event files that are this package's to
// replace.
const eventSuffix = ".potstill"

// files are the figures of a run on disk.
type files struct {
	metricsFile, csvFile, eventsFile *os.File

	metrics *train.MetricsWriter
	csv     *train.CSVWriter
	events  *train.EventWriter
}

// openFiles starts the metrics and the events anew, with the epochs that are
// done. The old files are there until the new ones are.
func openFiles(dir string, history []train.EpochInfo) (_ *files, err error) {
	f := &files{}
	defer func() {
		if err != nil {
			err = errors.Join(writable(err), f.close())
		}
	}()
	if f.metricsFile, err = startMetrics(filepath.Join(dir, MetricsFile), history); err != nil {
		return nil, err
	}
	f.metrics = train.NewMetricsWriter(f.metricsFile)
	if f.csvFile, err = startCSV(filepath.Join(dir, CSVFile), history); err != nil {
		return nil, err
	}
	f.csv = train.NewCSVWriter(f.csvFile)
	old, err := filepath.Glob(filepath.Join(escape(dir), "events.out.tfevents.*"+eventSuffix))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // a name is wanted, whichever it is
	}
	now := time.Now()
	events := filepath.Join(dir, train.EventFileName(now, host)+eventSuffix)
	if f.eventsFile, err = create(events); err != nil {
		return nil, err
	}
	if f.events, err = train.NewEventWriter(f.eventsFile, nil); err != nil {
		return nil, err
	}
	for _, e := range history {
		if err := f.events.Epoch(e); err != nil {
			return nil, err
		}
	}
	for _, name := range old {
		if name != events {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// startMetrics replaces the metrics at path by those of the history, and opens
// them for more.
func startMetrics(path string, history []train.EpochInfo) (*os.File, error) {
	var lines bytes.Buffer
	w := train.NewMetricsWriter(&lines)
	for _, e := range history {
		if err := w.Epoch(e); err != nil {
			return nil, err
		}
	}
	return begin(path, lines.Bytes())
}

// startCSV is startMetrics for the table.
func startCSV(path string, history []train.EpochInfo) (*os.File, error) {
	var lines bytes.Buffer
	w := train.NewCSVWriter(&lines)
	if err := w.Head(); err != nil {
		return nil, err
	}
	for _, e := range history {
		if err := w.Epoch(e); err != nil {
			return nil, err
		}
	}
	return begin(path, lines.Bytes())
}

// begin replaces the file at path by one of this content, and opens it for more.
func begin(path string, content []byte) (*os.File, error) {
	if err := os.WriteFile(path+".tmp", content, 0o666); err != nil {
		return nil, err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o666)
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
}

// escape makes a folder's name safe from filepath.Glob.
func escape(dir string) string {
	if os.PathSeparator == '\\' {
		return dir // there Glob knows no escapes
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// epoch adds an epoch's figures.
func (f *files) epoch(e train.EpochInfo) error {
	if err := f.metrics.Epoch(e); err != nil {
		return writable(err)
	}
	if err := f.csv.Epoch(e); err != nil {
		return writable(err)
	}
	return writable(f.events.Epoch(e))
}

// close closes the files. It may be called on nil.
func (f *files) close() error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, file := range []*os.File{f.metricsFile, f.csvFile, f.eventsFile} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// terms returns the terms of a step's loss by name, nil where there are none.
func terms(list []train.TermLoss) map[string]float64 {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]float64, len(list))
	for _, t := range list {
		out[t.Name] = t.Value
	}
	return out
}

// logStep writes the line of a step.
func logStep(w io.Writer, i train.StepInfo) error {
	line, err := json.Marshal(struct {
		Epoch    int                `json:"epoch"`
		Step     int                `json:"step"`
		Update   int                `json:"update"`
		Loss     float64            `json:"loss"`
		LR       float64            `json:"lr"`
		GradNorm float64            `json:"grad_norm,omitempty"`
		Terms    map[string]float64 `json:"terms,omitempty"`
	}{i.Epoch, i.Step, i.Update, i.Loss, i.LR, i.GradNorm, terms(i.Terms)})
	if err != nil {
		return fmt.Errorf("log of step %d: %w", i.Update, err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("log of step %d: %w", i.Update, err)
	}
	return nil
}
