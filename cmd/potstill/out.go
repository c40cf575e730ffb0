package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/fit"
)

// choose settles the folder of a run, before anything is read or trained. A
// folder that holds a run, or that one is under way in, is refused. Where none
// is named it is the first free one of def, def-2, def-3 and so on; to resume,
// the last of these that is there.
func (f *outFlags) choose(a *app, def string) error {
	defer func() { a.dir = f.Out }()
	switch {
	case f.Resume && f.Force:
		return errors.New("--resume continues the run in --out and --force replaces it: give one of them")
	case f.Out != "" && (f.Resume || f.Force):
		return nil
	case a.ranks.rank() > 0 && !f.Resume:
		return nil // rank 0 writes, and decides where
	case f.Out != "":
		return checkFolder(f.Out)
	case f.Force:
		f.Out = def
		return nil
	}
	var err error
	f.Out = def
	for n := 2; ; n++ {
		next := fmt.Sprintf("%s-%d", def, n)
		if f.Resume {
			if ok, err := exists(next); err != nil || !ok {
				return err
			}
		} else if err = checkFolder(f.Out); err == nil {
			break
		}
		f.Out = next
	}
	if f.Out != def {
		a.console.line(fmt.Sprintf("%s is taken: this run goes to %s", def, f.Out))
	}
	return nil
}

// checkFolder reports whether a run, or its teacher, would meet another there.
func checkFolder(dir string) error {
	if err := fit.CheckFolder(dir); err != nil {
		return err
	}
	if err := fit.CheckFolder(teacherDir(dir)); err != nil {
		return fmt.Errorf("the teacher's folder: %w", err)
	}
	return nil
}

// teacherDir is where a teacher that is trained first is kept.
func teacherDir(out string) string { return filepath.Join(out, "teacher") }

// stepLog opens the file for steps; close is never nil. A file that is there is
// added to by a resumed run, and replaced by another only with --force.
func (f outFlags) stepLog(stdout io.Writer) (w io.Writer, closeLog func() error, err error) {
	none := func() error { return nil }
	switch f.LogSteps {
	case "":
		return nil, none, nil
	case "-":
		return stdout, none, nil
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if f.Resume {
		mode = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	} else if info, err := os.Stat(f.LogSteps); err == nil && info.Mode().IsRegular() && info.Size() > 0 && !f.Force {
		return nil, none, fmt.Errorf("--log-steps: %s is there already: choose another file, or replace it with --force", f.LogSteps)
	}
	file, err := os.OpenFile(f.LogSteps, mode, 0o666)
	if err != nil {
		return nil, none, fmt.Errorf("--log-steps: %w; choose another file", err)
	}
	return file, file.Close, nil
}

// exists reports whether there is a file at path.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a run to resume: %w", err)
	}
	return true, nil
}
