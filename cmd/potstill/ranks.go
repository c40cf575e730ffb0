package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/launch"
	"github.com/potstill/potstill/mpi"
	"github.com/potstill/potstill/rendezvous"
)

// ranks are the processes that a launcher has started, as one of them sees them. The zero
// ranks are those of a process that is alone.
type ranks struct {
	process *launch.Process
	world   world      // nil before they have met
	cards   *gpu.Peers // nil where they compute on CPUs
}

// A world connects the processes of a job: over MPI or over TCP.
type world interface {
	engine.Peers
	Library() string
	Sent() int64
	Err() error
	Abort(code int)
	Close() error
}

// rank is the number of this process.
func (r *ranks) rank() int {
	if r.process == nil {
		return 0
	}
	return r.process.Rank
}

// peers are what a job is given of them: nil for a process that is alone.
func (r *ranks) peers() engine.Peers {
	switch {
	case r.cards != nil:
		return r.cards
	case r.world != nil:
		return r.world
	}
	return nil
}

// outcome says how they have trained together, nil for a process that is alone.
func (r *ranks) outcome() *ranksOutcome {
	if r.world == nil {
		return nil
	}
	o := &ranksOutcome{r.world.Size(), r.world.Library(), r.world.Sent()}
	if r.cards != nil {
		o.Over, o.Sent = r.cards.Library()+"; "+o.Over, o.Sent+r.cards.Sent()
	}
	return o
}

// join finds out whether a launcher has started this process, and joins the others. All but
// rank 0 then say nothing but why they fail.
func (a *app) join(d deviceFlags) error {
	p, err := launch.From(os.Getenv)
	if p == nil || err != nil {
		return err
	}
	a.ranks.process = p
	if p.Rank > 0 {
		a.out = io.Discard
		a.console.hush()
		a.log = slog.New(slog.DiscardHandler)
	}
	_, onCards := d.Device.cuda()
	if onCards && d.Device != "cuda" {
		return fmt.Errorf("%s has started %d processes, and --device %s would give all of them one card: give --device cuda, and each takes the card of its number on its machine", p.Launcher, p.Size, d.Device)
	}
	if err := a.meet(p, onCards); err != nil {
		return err
	}
	if d.Threads == 0 && !onCards {
		runtime.GOMAXPROCS(p.Threads(onlineProcessors(), runtime.GOMAXPROCS(0)))
	}
	return a.introduce()
}

// meet connects the processes: over MPI or, where there is none and the gradients go over NCCL,
// over TCP at the address that the launcher names.
func (a *app) meet(p *launch.Process, onCards bool) error {
	var missing error
	if !onCards || p.Launcher != launch.Torchrun {
		w, err := mpi.Open(mpi.Options{Launcher: p.Launcher, Size: p.Size})
		if err == nil {
			a.ranks.world = w
			return nil
		}
		if !onCards || p.Addr == "" {
			return err
		}
		missing = err
	}
	w, err := rendezvous.Open(rendezvous.Options{Rank: p.Rank, Size: p.Size, Addr: p.Addr, Port: p.Port, Name: p.Job})
	if err != nil {
		return errors.Join(err, missing)
	}
	a.ranks.world = w
	return nil
}

// card returns which of the cards that this process sees is its own.
func (r *ranks) card(visible int) (int, error) {
	p := r.process
	switch {
	case visible < 2: // the launcher shows each process its own, or there is one process a machine
		return 0, nil
	case p.Local < 0:
		return 0, fmt.Errorf("%s does not say which number rank %d has on its machine, where there are %d cards: show each process its own (CUDA_VISIBLE_DEVICES)", p.Launcher, p.Rank, visible)
	case p.Local >= visible:
		return 0, fmt.Errorf("rank %d is number %d on its machine, which has %d cards: start at most %d processes there", p.Rank, p.Local, visible, visible)
	}
	return p.Local, nil
}

// joinCards connects this rank's card with those of the others, over NCCL.
func (a *app) joinCards(b *gpu.Backend) (err error) {
	if a.ranks.world == nil || a.ranks.cards != nil {
		return nil
	}
	if a.ranks.cards, err = b.Join(a.ranks.world); err != nil {
		a.ranks.cards = nil
		return err
	}
	a.log.Info(fmt.Sprintf("the cards of %d ranks exchange over %s", a.ranks.world.Size(), a.ranks.cards.Library()))
	return nil
}

// introduce logs, at rank 0, which process on which machine each rank is: a launcher that ends a
// job may name no more than the process that died.
func (a *app) introduce() error {
	w := a.ranks.world
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown machine"
	}
	const size = 72
	var mine [size]byte
	copy(mine[:], fmt.Sprintf("process %d on %s", os.Getpid(), host))
	all := make([]byte, size*w.Size())
	if err := w.AllGather(all, mine[:]); err != nil {
		return err
	}
	var who []string
	for r := range w.Size() {
		who = append(who, fmt.Sprintf("rank %d is %s", r, strings.TrimRight(string(all[r*size:][:size]), "\x00")))
	}
	a.log.Info(fmt.Sprintf("%d ranks over %s: %s", w.Size(), w.Library(), strings.Join(who, ", ")))
	return nil
}

// onlineProcessors returns how many the machine has, also those that this process may
// not use.
func onlineProcessors() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online") // as in 0-3,8
	if err != nil {
		return runtime.NumCPU()
	}
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		a, err := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil {
			return runtime.NumCPU()
		}
		n += b - a + 1
	}
	return n
}

// patience is how long a rank above 0 that fails waits for rank 0 to print the reason: most
// failures happen at all ranks, and one message is enough.
const patience = 1500 * time.Millisecond

// part leaves the other ranks at the end of a command. A rank that fails ends them.
func (a *app) part(err error) error {
	w := a.ranks.world
	if w == nil {
		if err != nil && a.ranks.rank() > 0 {
			time.Sleep(patience)
			a.console.speak()
		}
		return err
	}
	var stopped *fit.InterruptedError
	if err == nil || errors.As(err, &stopped) && errors.Is(err, context.Canceled) {
		return errors.Join(err, w.Close())
	}
	if a.ranks.rank() > 0 {
		time.Sleep(patience)
	}
	a.console.speak()
	a.fail(err)
	w.Abort(exitFailure)
	mpi.Exit(exitFailure) // where Abort has not ended this process, too
	return err
}

// fail says why the command fails.
func (a *app) fail(err error) {
	who := ""
	if r := a.ranks.rank(); r > 0 {
		who = fmt.Sprintf("rank %d: ", r)
	}
	a.console.line("potstill: " + who + oneLine(err.Error()))
}
