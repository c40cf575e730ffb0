// Command potstill trains, distills and shrinks image classifiers. It is flags
// and wiring: one file a subcommand, over packages that know no terminal.
//
// Figures go to standard output, as a table or, with --json, as JSON and
// nothing else; progress and remarks go to standard error. The exit status is 0
// for success, 1 for a failure, which one line on standard error explains, 2
// for a command line that is not understood, and 129, 130 or 143 after SIGHUP,
// SIGINT or SIGTERM, with a line that says how to resume.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/potstill/potstill/mpi"
)

// commands is the grammar of the command line.
type commands struct {
	Study     studyCmd     `cmd:"" help:"Run a compression study: train, distill, prune, quantize, compare, report."`
	Train     trainCmd     `cmd:"" help:"Train a model."`
	LRFind    lrFindCmd    `cmd:"" name:"lr-find" help:"Search a learning rate."`
	Distill   distillCmd   `cmd:"" help:"Train a model under a teacher."`
	Prune     pruneCmd     `cmd:"" help:"Take channels out of a model: to a ratio or a target, by a criterion."`
	Factorize factorizeCmd `cmd:"" aliases:"factorise" help:"Take a model's layers apart into ones of lower rank."`
	Quantize  quantizeCmd  `cmd:"" aliases:"quantise" help:"Store a model in fewer bits: weights in 2 to 16 and, with images, activations in 8."`
	Shrink    shrinkCmd    `cmd:"" help:"Find the best net for a budget of bytes, time, parameters, multiply-adds or memory."`
	Convert   convertCmd   `cmd:"" help:"Take a model from PyTorch, ONNX, the study or safetensors, or to these."`
	Eval      evalCmd      `cmd:"" help:"Measure a model on labeled images."`
	Predict   predictCmd   `cmd:"" help:"Classify image files."`
	Verify    verifyCmd    `cmd:"" help:"Hold the translation of ONNX models to ONNX's own test cases."`
	Summary   summaryCmd   `cmd:"" help:"List a model's layers, parameters, multiply-adds and bytes."`
	Explain   explainCmd   `cmd:"" help:"Print the plan of a model's training step or inference."`
	Bench     benchCmd     `cmd:"" help:"Measure training, a model, or every kernel, on this machine."`
	Cache     cacheCmd     `cmd:"" help:"Show, prune or clear what is kept of decoded images."`
	Warm      warmCmd      `cmd:"" help:"Compile the kernels that nets need on a CUDA device, ahead of time."`
	Devices   devicesCmd   `cmd:"" help:"List what potstill can compute on."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print a script that completes command lines in bash, zsh or fish."`
	Man        manCmd        `cmd:"" help:"Print the manual page."`
	HelpOf     helpCmd       `cmd:"" name:"help" help:"Show the help of a command."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// The exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128 // plus the signal's number
)

// An app is what a subcommand runs in.
type app struct {
	ctx       context.Context
	out       io.Writer // figures
	console   *console  // progress and remarks
	log       *slog.Logger
	args      []string // the command line, without the program's name
	dir       string   // of the run, where its flags are kept
	grammar   *kong.Application
	jsonLines bool // standard output has a JSON value a line
	saidCPU   bool // that the CPU computes, and why
	ranks     ranks
}

func main() { mpi.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes a command line and returns the exit status.
func run(args []string, stdout, stderr *os.File) int {
	c := newConsole(stderr)
	a := &app{out: &plainWriter{w: stdout}, console: c, log: slog.New(&handler{console: c}), args: args}
	exited := -1
	parser, err := kong.New(&commands{}, kong.Name("potstill"), kong.Writers(stdout, stderr),
		kong.Vars{"version": thisVersion().String()},
		kong.Description("Potstill trains, distills and shrinks image classifiers."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.Exit(func(code int) { exited = code }), kong.UsageOnError())
	if err != nil {
		c.line("potstill: " + oneLine(err.Error()))
		return exitFailure
	}
	if a.grammar = parser.Model; len(args) > 0 && args[0] == completeWord {
		if err := complete(a.out, a.grammar, args[1:]); err != nil {
			return exitFailure
		}
		return 0
	}
	if a.args, err = a.again(withNegatives(args)); err != nil {
		c.line("potstill: " + oneLine(err.Error()))
		return exitFailure
	}
	k, err := parser.Parse(helped(a.args))
	if exited >= 0 {
		return exited // help has been shown
	}
	if err != nil {
		c.line(fmt.Sprintf("potstill: %s; see potstill %s--help", usage(err), commandOf(err)))
		return exitUsage
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a.ctx = ctx
	caught := c.onSignal(cancel)
	err = k.Run(a)
	c.end()
	err = a.part(err)
	switch sig := caught.Load(); {
	case err == nil:
		return 0
	case sig != 0 && errors.Is(err, context.Canceled):
		c.line("potstill: " + stopped(err))
		return exitSignal + int(sig)
	}
	a.fail(err)
	return exitFailure
}

// helpCmd is potstill help; helped has replaced it before it can run.
type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command, as in study run; all commands if it is left out."`
}

// Help is printed below the flags' summary.
func (helpCmd) Help() string {
	return `Example:

    potstill help study run`
}

// Run does nothing.
func (helpCmd) Run() error { return nil }

// usage is what a usage error says, in one line. That a flag may be left out, which kong counts
// among its values, is no value to choose.
func usage(err error) string {
	return strings.Replace(oneLine(err.Error()), `must be one of "",`, "must be one of ", 1)
}

// helped turns "help COMMAND" into "COMMAND --help", and a command line without
// any word into a request for help.
func helped(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help" && !slices.Contains(args, "--help") && !slices.Contains(args, "-h"):
		return append(append([]string{}, args[1:]...), "--help")
	}
	return args
}

// onSignal cancels the work at the first SIGINT, SIGTERM or SIGHUP and ends the
// process at the second. A SIGHUP that is ignored, as under nohup, stays so. It
// returns where the number of the first will be.
func (c *console) onSignal(cancel context.CancelFunc) *atomic.Int32 {
	var caught atomic.Int32
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		for s := range signals {
			n := int32(syscall.SIGINT)
			if sig, ok := s.(syscall.Signal); ok {
				n = int32(sig)
			}
			if !caught.CompareAndSwap(0, n) {
				os.Exit(exitSignal + int(n))
			}
			if c.terminal {
				c.line("stopping; once more stops at once")
			}
			cancel()
		}
	}()
	return &caught
}

// stopped is what is said after a signal: the error's own words on how to go
// on, where the work had anything to go on from.
func stopped(err error) string {
	text := oneLine(err.Error())
	if strings.HasSuffix(text, context.Canceled.Error()) {
		return "stopped before there was anything to save; the same command starts again"
	}
	return text
}

// commandOf names the subcommand that a mistake on the command line belongs to.
func commandOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if sel := p.Context.Selected(); sel != nil {
			return nameOf(sel) + " "
		}
	}
	return ""
}

// oneLine joins the lines of joined errors.
func oneLine(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// nameOf is a subcommand as it is typed.
func nameOf(n *kong.Node) string {
	if n.Parent == nil || n.Parent.Type != kong.CommandNode {
		return n.Name
	}
	return nameOf(n.Parent) + " " + n.Name
}
