package main

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
)

// qatFlags are the settings of quantization-aware training.
type qatFlags struct {
	QAT         bool `name:"qat" group:"Quantization-aware training:" help:"Train the net in --init on with rounded weights and activations, whose steps are trained too. Its batch norms are folded first; the net in float32 teaches."`
	QATBits     int  `name:"qat-bits" placeholder:"N" group:"Quantization-aware training:" help:"Bits of weights, from 2 to 8; 8 if not given. Activations have 8."`
	QATTensor   bool `name:"qat-per-tensor" group:"Quantization-aware training:" help:"One step a weight, in place of one an output channel."`
	QATEqualize bool `name:"qat-equalize" group:"Quantization-aware training:" help:"Make the ranges of a channel's weights alike in the layers that make and read it, first."`
	QATLabels   bool `name:"qat-labels" group:"Quantization-aware training:" help:"Learn from the labels alone, without the net in float32 as a teacher."`
}

// The distillation of quantization-aware training.
const (
	qatTemperature = 4
	qatAlpha       = 0.9
)

// check reports flags that do not go together.
func (f qatFlags) check(i initFlags) error {
	others := f.QATBits != 0 || f.QATTensor || f.QATEqualize || f.QATLabels
	switch {
	case !f.QAT && others:
		return errors.New("--qat-bits, --qat-per-tensor, --qat-equalize and --qat-labels are settings of --qat; give it too")
	case f.QAT && i.Init == "":
		return errors.New("--qat trains a trained net on: name it with --init")
	case f.QAT && i.NewHead:
		return errors.New("--qat keeps the last layer of the net: train one for the new classes first, without --qat")
	}
	return nil
}

// prepare puts the net with quantizers in the place of the job's net, and the net in
// float32 as its teacher.
func (f qatFlags) prepare(a *app, b engine.Backend, j *fit.Job) error {
	if !f.QAT {
		return nil
	}
	if n := j.Init.Net.Classes(); n != len(j.Data.Classes) {
		return fmt.Errorf("%s has %d classes, the data %s %d; train a last layer for them first, without --qat", j.Init.Path, n, j.Data.Name, len(j.Data.Classes))
	}
	plain := *j.Init
	plain.Preprocess = j.Preprocess
	o := quant.Options{Scheme: quant.Int8, Bits: f.QATBits, PerTensor: f.QATTensor, Equalize: f.QATEqualize, Seed: j.Config.Seed, Learned: true}
	net, _, err := compressed(a, "quantize", &plain, compress.Env{Backend: b, Data: j.Data, Log: a.log}, func(m *quant.Options) { *m = o })
	if err != nil {
		return err
	}
	if !f.QATLabels {
		j.Teacher, j.KD = j.Init, distill.Settings{T: qatTemperature, Alpha: qatAlpha}
	}
	j.Init, j.Net = net, net.Net
	return nil
}
