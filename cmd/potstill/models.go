package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
)

// fileFlags name a model's file.
type fileFlags struct {
	Model string `required:"" placeholder:"FILE" help:"The model: potstill's own file, PyTorch's, ONNX, the study's pickle, safetensors; or a built-in one, as builtin:fashion-resnet18."`
	foreignFlags
	openFlag
}

// openFlag says what an ONNX file may leave open.
type openFlag struct {
	Input imageSize `placeholder:"3x224x224" help:"Size of the images of an ONNX file that leaves it open."`
}

// foreignFlags say what another program's file holds.
type foreignFlags struct {
	Arch    string `placeholder:"FAMILY|YAML" help:"Family of another program's file, where it is not found from the file, or a YAML file of its net."`
	Weights string `placeholder:"PREFIX" help:"Which of several nets in another program's file: the key of its state_dict, or what the names of its tensors begin with, as in teacher or ema.module; . for names without a prefix."`
}

// load reads the file.
func (f fileFlags) load(a *app) (*checkpoint.Checkpoint, error) {
	return loadModel(a, f.Model, f.foreignFlags, f.Input)
}

// loadModel reads a model's file, whatever its format. The family is found from
// the file, unless it is given.
func loadModel(a *app, path string, f foreignFlags, input imageSize) (*checkpoint.Checkpoint, error) {
	i, err := inspectModel(a, path, f, input, false)
	if err != nil {
		return nil, err
	}
	return i.Checkpoint, nil
}

// inspectModel is loadModel that, if asked for, tells all about the file.
func inspectModel(a *app, path string, f foreignFlags, input imageSize, whole bool) (i *checkpoint.Info, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a folder; name the file in it, as in %s", path, filepath.Join(path, "best.safetensors"))
	}
	o := checkpoint.OpenOptions{Weights: f.Weights, Input: onnxnet.Options{Channels: input.C, Height: input.H, Width: input.W}}
	if layers.IsYAML(f.Arch) {
		if o.Net, err = layers.Open(layers.Arch{Family: f.Arch, Classes: anyClasses}); err != nil {
			return nil, err
		}
	} else {
		o.Arch.Family = f.Arch
	}
	if whole {
		i, err = checkpoint.Inspect(path, o)
	} else {
		i = new(checkpoint.Info)
		i.Checkpoint, err = checkpoint.Open(path, o)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no model file %s; train one with potstill train, or name another", path)
	}
	if err != nil {
		return nil, err
	}
	if len(i.Warnings) > 0 && !whole { // else they are among the notes
		a.log.Info(path + ": " + strings.Join(i.Warnings, "; "))
	}
	return i, nil
}

// assumed tells what is assumed of a model's images, where its file does not say
// what they go through. A size that the user gives is that of the whole picture.
func assumed(a *app, m *checkpoint.Checkpoint, size int) {
	p := &m.Preprocess
	if size > 0 {
		p.Size, p.Width = size, 0
		if p.Assumed {
			p.Resize = size
		}
	}
	if p.Assumed {
		a.log.Info(fmt.Sprintf("%s: %s; potstill convert says it with --resize, --size and --normalize", m.Path, prepared(p)))
	}
}

// anyClasses stands for a number of classes that a file's tensors will tell.
const anyClasses = 2

// initFlags name the weights that a training starts from.
type initFlags struct {
	Init    string   `placeholder:"FILE" help:"Start from the weights, and the net, in FILE, of any format that summary reads."`
	Weights string   `placeholder:"PREFIX" help:"Which of several nets in that file, as in ema.module; . for names without a prefix."`
	NewHead bool     `help:"Replace its last layer by a new one for the classes of the data. Done without asking where another program's file has another number of classes."`
	Freeze  []string `sep:"none" placeholder:"PATTERN" help:"Keep the tensors of this name, or of this module or container, from training; * stands for any characters, as in layer1 or *.bias. Their batch norms keep their statistics. May be given several times."`
	LRScale []string `name:"lr-scale" sep:"none" placeholder:"PATTERN=FACTOR" help:"Multiply the learning rate of such tensors, as in layer4=0.1. May be given several times."`
}

// load reads the file; nil for none.
func (f initFlags) load(a *app) (*checkpoint.Checkpoint, error) {
	switch {
	case f.Init != "":
		return loadModel(a, f.Init, foreignFlags{Weights: f.Weights}, imageSize{})
	case f.Weights != "":
		return nil, errors.New("--weights chooses among the nets of a file: name it with --init")
	case f.NewHead:
		return nil, errors.New("--new-head replaces the last layer of a model: name it with --init")
	}
	return nil, nil
}
