package main

import (
	"errors"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// explainCmd is potstill explain.
type explainCmd struct {
	modelFlags
	Batch   int    `default:"32" help:"Images a step."`
	Train   bool   `help:"The training step with AdamW; else inference."`
	Teacher string `placeholder:"FAMILY|FILE" help:"With --train: distill from this net in the same step."`
	NoFuse  bool   `help:"Leave every operator as it was written."`
	precisionFlag
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (explainCmd) Help() string {
	return `Lists the steps in their order with what they are fused from, their arithmetic and the memory they move, and
the size of the arena that all tensors share. Nothing is allocated: the plan may be larger than the machine.

Example:

    potstill explain cnn-dwpw --input 3x128x128 --batch 32 --train`
}

// Run explains.
func (c *explainCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	if c.Teacher != "" && !c.Train {
		return errors.New("--teacher is for a training step; add --train")
	}
	m, _, err := c.load(a)
	if err != nil {
		return err
	}
	s := programSpec{net: m, batch: c.Batch, height: c.Input.H, width: c.Input.W, train: c.Train, noFuse: c.NoFuse, bfloat16: c.bfloat16()}
	if s.teacher, err = c.teacher(a, m.Net().Classes()); err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		plan, err := s.explain(b)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.out, plan)
		}
		_, err = plan.WriteTo(a.out)
		return err
	})
}

// teacher returns the teacher's net, nil for none.
func (c *explainCmd) teacher(a *app, classes int) (*layers.Model, error) {
	if c.Teacher == "" {
		return nil, nil
	}
	f := modelFlags{Model: c.Teacher, Input: c.Input, Classes: classes}
	m, _, err := f.load(a)
	return m, err
}
