package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// distillCmd is potstill distill.
type distillCmd struct {
	Arch string `default:"cnn-dwpw" help:"Family of the student, or a YAML file of a net."`
	archFlags
	initFlags

	KD               string   `name:"kd" placeholder:"METHOD:KEY=V,...+..." group:"Distillation:" help:"The loss: methods with their settings, as in dkd:alpha=1,beta=8,T=4+at:stages=2-4,w=1000. If not given, plain kd with --T and --alpha."`
	T                float64  `name:"T" aliases:"temperature" default:"20" group:"Distillation:" help:"Temperature of plain kd."`
	Alpha            float64  `default:"0.5" group:"Distillation:" help:"The teacher's share of the loss of plain kd."`
	DOT              *float64 `name:"dot" placeholder:"DELTA" group:"Distillation:" help:"With --optimizer sgd: give the labels and the teacher a momentum each, --momentum less and plus DELTA, as 0.075 (arXiv:2305.09651)."`
	Compare          string   `placeholder:"METHOD,METHOD,..." group:"Distillation:" help:"Run short pilots with each of these losses, and with no teacher, on the same seeds, print the gains, and stop."`
	PilotEpochs      int      `placeholder:"N" group:"Distillation:" help:"Epochs of a pilot; a tenth of --epochs if not given."`
	PilotSeeds       int      `default:"3" group:"Distillation:" help:"Seeds of the pilots, from --seed on."`
	ShareImages      bool     `group:"Distillation:" help:"Give the teacher the student's images, normalized as its own, where its file says that it was made for another size; else it gets its own, of the same pictures, cropped and flipped alike."`
	Teacher          []string `sep:"none" placeholder:"FILE" group:"Distillation:" help:"The teacher; if not given, one is trained first, in DIR/teacher. Given several times, their losses are averaged."`
	TeacherShares    string   `enum:"equal,confidence" default:"equal" placeholder:"equal|confidence" group:"Distillation:" help:"How several teachers are weighted: equal, or confidence, image by image by how sure each is of its class."`
	TeacherWeights   string   `placeholder:"PREFIX" group:"Distillation:" help:"Which of several nets in that file, as in teacher; . for names without a prefix."`
	TeacherPrecision string   `enum:",float32,bfloat16,int8" default:"" placeholder:"float32|bfloat16|int8" group:"Distillation:" help:"How the teacher's activations are stored: as --precision if not given; int8 for a model that quantize --scheme int8 has made."`
	TeacherArch      string   `default:"resnet18" group:"Distillation:" help:"Family of a teacher trained first, or a YAML file of a net."`
	TeacherBase      int      `placeholder:"N" group:"Distillation:" help:"Its base width."`
	TeacherEpochs    int      `placeholder:"N" group:"Distillation:" help:"Its epochs; --epochs if not given."`

	dataFlags
	runFlags
	imageFlags
	outFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (distillCmd) Help() string {
	return `The loss is (1-alpha)*CE(s,y) + alpha*T*T*KL(softmax(t/T), softmax(s/T)) for the logits s of the student and t
of the teacher, or with --kd a sum of methods: ` + strings.Join(methodNames(), ", ") + `;
docs/distillation.md has their formulas and settings. Both see the same pictures, cropped, turned and flipped alike, each in the size and with the
normalization that it was made for. What is written is as for train.

Example:

    potstill distill --teacher out/teacher/best.safetensors --arch cnn-dwpw --data food11 --size 128 --out out/student
    potstill distill --teacher teacher.onnx --kd dkd:beta=8,T=4,warmup=2+at:stages=2-4 --data food11 --size 128`
}

// Run distills.
func (c *distillCmd) Run(a *app) error {
	if c.Compare == "" {
		if err := a.join(c.deviceFlags); err != nil {
			return err
		}
		if err := c.choose(a, "out/distill"); err != nil {
			return err
		}
	}
	start, err := c.initFlags.load(a)
	if err != nil {
		return err
	}
	teachers, err := c.teachers(a)
	if err != nil {
		return err
	}
	var teacher *checkpoint.Checkpoint
	if len(teachers) > 0 {
		teacher = teachers[0]
	}
	net, err := netToTrain(c.Arch, c.archFlags, start, anyClasses)
	if err != nil {
		return err
	}
	p, err := c.imageFlags.preprocess(c.dataFlags, net, start, teacher)
	if err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return c.dataFlags.with(a, func(ds *data.Dataset) error {
			j, err := c.jobOf(ds, c.Arch, c.archFlags, c.initFlags, start, c.runFlags, c.imageFlags, p)
			if err != nil {
				return err
			}
			if j.Teacher = teacher; teacher != nil {
				j.Others = teachers[1:]
			}
			j.SharedImages = c.ShareImages
			if dir, err := (cacheDirFlag{c.Cache}).dir(); err == nil { // without one, teachers are run in every step
				j.LogitsDir = filepath.Join(dir, "logits")
			}
			if c.Compare != "" {
				j.KD, j.Config.Optimizer.DOT = c.settings(), c.DOT
				return c.compare(a, b, j)
			}
			return c.run(a, b, j)
		})
	})
}

// teachers reads those that are given.
func (c *distillCmd) teachers(a *app) (all []*checkpoint.Checkpoint, err error) {
	switch {
	case c.TeacherWeights != "" && len(c.Teacher) == 0:
		return nil, errors.New("--teacher-weights chooses among the nets of a file: name it with --teacher")
	case c.TeacherWeights != "" && len(c.Teacher) > 1:
		return nil, errors.New("--teacher-weights chooses among the nets of one teacher's file; convert that net to a file of its own to name several")
	case c.TeacherShares != "equal" && len(c.Teacher) < 2:
		return nil, errors.New("--teacher-shares weights several teachers; name them, each with --teacher")
	}
	for _, file := range c.Teacher {
		t, err := loadModel(a, file, foreignFlags{Weights: c.TeacherWeights}, imageSize{})
		if err != nil {
			return nil, teacherAdvice(err)
		}
		all = append(all, t)
	}
	return all, nil
}

// settings returns those of the loss.
func (c *distillCmd) settings() distill.Settings {
	s := distill.Settings{Spec: c.KD, Precision: c.TeacherPrecision}
	if c.KD == "" {
		s.T, s.Alpha = float32(c.T), float32(c.Alpha)
	}
	if c.TeacherShares == distill.Confidence {
		s.Teachers = distill.Confidence
	}
	return s
}

// teacherAdvice names the flag that chooses among the nets of a teacher's file.
func teacherAdvice(err error) error {
	if strings.Contains(err.Error(), "--weights") {
		return fmt.Errorf("%w (for a teacher the flag is --teacher-weights)", err)
	}
	return err
}

func (c *distillCmd) run(a *app, b engine.Backend, j fit.Job) error {
	j.KD, j.Config.Optimizer.DOT = c.settings(), c.DOT
	if c.T == 0 {
		return errors.New("--T 0: give a positive temperature; the study's is 20")
	}
	if err := j.Check(); err != nil { // before a teacher is trained for nothing
		return err
	}
	resumeTeacher := false
	if c.Resume && len(c.Teacher) == 0 {
		// A run that was stopped under its teacher has no student to resume.
		student, err := exists(filepath.Join(c.Out, fit.LastFile))
		if err != nil {
			return err
		}
		if resumeTeacher, err = exists(filepath.Join(teacherDir(c.Out), fit.LastFile)); err != nil {
			return err
		}
		j.Resume = student || !resumeTeacher
	}
	return c.logged(a, func(w io.Writer) error {
		if j.Teacher == nil {
			var err error
			if j.Teacher, err = c.teacher(a, b, j, resumeTeacher); err != nil {
				return err
			}
		}
		j.StepLog = w
		out, err := train1(a, b, j, "")
		if err != nil {
			return err
		}
		return printOutcome(a, c.JSON, out, j.Data.Val.Len(), &teacherOutcome{File: j.Teacher.Path, ValAccuracy: accuracyOf(j.Teacher)})
	})
}

// teacher trains the teacher, with the student's settings.
func (c *distillCmd) teacher(a *app, b engine.Backend, student fit.Job, resume bool) (*checkpoint.Checkpoint, error) {
	j := student
	var err error
	if j.Net, err = (archFlags{Base: c.TeacherBase}).net(c.TeacherArch, len(j.Data.Classes)); err != nil {
		return nil, err
	}
	j.Init, j.NewHead, j.KD, j.Dir, j.Resume = nil, false, distill.Settings{}, teacherDir(c.Out), resume
	j.Freeze, j.LRScales, j.Config.Optimizer.DOT = nil, nil, nil
	if c.TeacherEpochs > 0 {
		j.Config.Epochs = c.TeacherEpochs
	}
	out, err := train1(a, b, j, "teacher")
	if err != nil {
		return nil, err
	}
	return out.Best, nil
}

// methodNames lists the methods of distillation.
func methodNames() (names []string) {
	for _, m := range distill.Methods() {
		names = append(names, m.Name)
	}
	return names
}
