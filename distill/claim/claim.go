package claim

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrLost says that another process has taken over a claim, since this one was
// silent for too long: it was suspended, or the shared folder was out of reach.
var ErrLost = errors.New("another process has taken the work over, since this one was silent for too long")

// A Claim is work that this process has claimed. It is given back by Done or by
// Free.
type Claim struct {
	Holder
	folder *Folder
	number int
	file   *os.File
	temp   string // the name under which the file was made
	count  int

	lost context.CancelCauseFunc
	held context.Context // ends when the claim is lost

	stop sync.Once
	quit chan struct{}
	over chan struct{} // closed when the beat has ended
}

// create makes the file of a claim, whole and locked. The error wraps
// fs.ErrExist where there is one.
func (f *Folder) create(name string, n int, alone bool) (*Claim, error) {
	c := &Claim{Holder: f.self, folder: f, number: n, quit: make(chan struct{}), over: make(chan struct{})}
	c.Name, c.Alone, c.Since = name, alone, time.Now().UTC().Truncate(time.Second)
	c.held, c.lost = context.WithCancelCause(context.Background())
	c.temp = filepath.Join(f.dir, "."+name+"-"+unique())
	path := f.path(name, n)
	var err error
	if c.file, err = os.OpenFile(c.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return nil, err
	}
	if err = c.begin(); err == nil {
		err = link(c.temp, path, c.file)
	}
	if err == nil {
		_ = os.Remove(c.temp) // one that stays does no harm
		return c, nil
	}
	_ = c.close()
	if !errors.Is(err, errNoLinks) {
		return nil, err
	}
	if c.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// begin locks the claim's file, and writes it.
func (c *Claim) begin() error {
	_, _ = TryLock(c.file) // where there are no locks, the beat alone says that we live
	return c.write(false)
}

// close closes the claim's file, and removes what could not be removed before.
func (c *Claim) close() error {
	err := c.file.Close()
	_ = os.Remove(c.temp)
	return err
}

// errNoLinks says that a file cannot have two names here.
var errNoLinks = errors.New("no links")

// link gives the open file at temp a second name, which must be free. An error
// of a network's file system may come after the work was done: the file itself
// tells.
func link(temp, path string, file *os.File) error {
	err := os.Link(temp, path)
	switch {
	case err == nil || same(file, path):
		return nil
	case errors.Is(err, fs.ErrExist):
		return err
	}
	return errNoLinks
}

// same reports whether an open file is the one at path.
func same(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// write puts the claim's record into its file, in place.
func (c *Claim) write(free bool) error {
	c.count++
	text := record{Holder: c.Holder, Free: free}.encode(c.count)
	if _, err := c.file.WriteAt(text, 0); err != nil {
		return err
	}
	if err := c.file.Truncate(int64(len(text))); err != nil {
		return err
	}
	return c.file.Sync()
}

// beat says from time to time that the holder is alive, and looks whether the
// claim is still its own.
func (c *Claim) beat(every time.Duration) {
	defer close(c.over)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-tick.C:
			_ = c.write(false) // if the folder is out of reach for long, others take over, and the next line tells
			if c.Check() != nil {
				c.lost(ErrLost)
				return
			}
		}
	}
}

// Check returns ErrLost if the claim is not this process's any more.
func (c *Claim) Check() error {
	if c.held.Err() != nil {
		return ErrLost
	}
	c.folder.mu.Lock()
	defer c.folder.mu.Unlock()
	if top, err := c.folder.top(c.Name); err == nil && top > c.number {
		return ErrLost
	}
	if _, err := os.Stat(c.folder.path(c.Name, c.number)); errors.Is(err, fs.ErrNotExist) {
		return ErrLost // who took it over has done the work since
	}
	return nil
}

// Guard returns a context that ends, with the cause [ErrLost], when the claim is
// lost. Its cancel function must be called.
func (c *Claim) Guard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.held, func() { cancel(ErrLost) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// Done gives back the claim of work that is done, of which the others find the
// result. Nothing is left of it.
func (c *Claim) Done() error {
	c.halt()
	err := c.close()
	c.folder.mu.Lock()
	defer c.folder.mu.Unlock()
	c.folder.clean(c.Name, c.number)
	return err
}

// Free gives back the claim of work that is not done: another process may take it.
func (c *Claim) Free() error {
	c.halt()
	return errors.Join(c.write(true), c.close())
}

// halt ends the beat.
func (c *Claim) halt() {
	c.stop.Do(func() { close(c.quit) })
	<-c.over
}

// discard removes a claim that has not begun.
func (c *Claim) discard() {
	_ = c.close()
	_ = os.Remove(c.folder.path(c.Name, c.number))
}
