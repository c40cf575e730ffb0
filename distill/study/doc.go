// Package study runs a compression study from a recipe: which nets to train,
// which to distill, prune, quantize and measure, and what the report shows of
// each beside published figures. [Run] does it and writes the report of package
// report. The study of hw7.md is built in, whole and in a form for a few
// minutes on two cores; see [Builtin].
//
// # Recipes
//
// A recipe is a YAML file:
//
//	study: mine
//	data: {source: builtin:fashion, size: 28}
//	defaults: {epochs: 10, lr: 2e-3, augment: {crop: true, padding: 2, flip: 0.5}}
//	steps:
//	  teacher: {kind: train, arch: resnet18, epochs: 5}
//	  student:
//	    kind: distill
//	    arch: cnn-dwpw
//	    teacher: teacher
//	    temperature: 20
//	    rows: [{table: Compression, name: big model}]
//	  pruned:  {kind: prune, from: student, mult: 0.35, epochs: 5}
//	  chart95: {kind: prune, from: student, rate: 0.95, rounds: [1, 2, 3], epochs: 1}
//	  int8:    {kind: quantize, from: student, scheme: affine8}
//	  figures: {kind: evaluate, from: [student, int8], passes: 5, confusion: true, mistakes: 24}
//	checks:
//	  - {name: 8-bit within 0.5 points, step: int8, at_least: {of: student, points: -0.5}}
//
// Its keys are the yaml tags of [Recipe] and of what it holds. An unknown key,
// a value of the wrong type, a reference to a step that is not there and a
// circle of references are errors that name file, line and column. A step takes
// the settings that it leaves out from defaults.
//
// The kinds of steps:
//
//	train     a net from its initialization, or from: another step's model. With
//	          pretrained: {data: SOURCE, file: MODEL} the file is imported in place
//	          of training where the images are those of SOURCE
//	distill   the same under the model of the step named by teacher:, or of several,
//	          as in teacher: [a, b], whose losses are averaged, or weighted with
//	          teacher_shares: confidence; with the loss kd: (see distill.Spec), or
//	          plain kd with temperature: and alpha:
//	prune     the model of from: without some channels, then fine-tuning with
//	          the plain cross-entropy, or under the model of teacher:, which may
//	          be that of from:; optimizer: stale is the published mode, in which
//	          no weight moves. With mult: one prune by γ; with rate: and rounds:
//	          a chain, which becomes a line of the chart; with ratio: or a
//	          target and criterion: a cut as prune.Options has it
//	factorize the model of from: with layers taken apart (lowrank.Options),
//	          tuned as a prune is
//	quantize  the model of from: by scheme: affine8, affine8-channel, float16, or
//	          int8, with the settings of quant.Options; with learned: what trains
//	          from: it is quantization-aware training
//	shrink    the best net for a budget, under:, found by a search from the model of
//	          from:, or from a family, start:, whose net is grown and trained first
//	          (shrink.Method; docs/shrink.md), under the model of teacher:, else its
//	          own, beside the models of the steps beside: [a, b]. epochs are those of its last training; freeze, lr_scale and sparsity
//	          do not apply. The search's report lies in the step's folder
//	import    a model's file, file:, of any format that potstill reads: its own,
//	          PyTorch's, ONNX, the study's pickles, safetensors. It may be a
//	          teacher:, and a from: whatever its classes are, for a file of
//	          another program gets a new last layer where they are others than the
//	          data's. Of several nets in a file, weights: names one, as in
//	          ema.module; input: is the size of the images of an ONNX file that
//	          leaves it open, as in 3x224x224
//	evaluate  confusion matrix, mistakes, throughput, latency and planned memory
//	          of the models of from:
//
// In a chain round k has int(w·rate^k) of every width w of the first model, not
// of the round before, so that roundings do not add up. Its weights are those of
// the round before, fine-tuned, as in the reference of the study; each round
// has an optimizer of its own.
//
// # Validation, test, seeds
//
// The best epoch of a training is chosen on the validation part of the data.
// Where there is a test part, the report's accuracies and the checks are of it.
//
// With seeds: N (or Options.Seeds) the whole study is run with the seeds seed,
// seed+1, … seed+N-1. The report shows means and standard deviations, and of the
// rows of a table the differences seed by seed; a check is held to the means. A
// step that names a seed of its own is the same for all of them and done once.
//
// # Caching
//
// A step's work lies in a folder work/<step>-<key>, where the key is a hash of
// all that the result depends on: the resolved settings, the keys of the steps
// it builds on, the data's fingerprint, the kind of device, and a version of
// this code. A folder with an outcome.json whose files are whole is not done
// again. So a study that was stopped, or killed, continues where it was, a
// training run from its last checkpoint, to the bit; and a change of one step's
// settings redoes that step and those that depend on it. Measurements of
// speed, and searches under a limit of time, depend on the exact device and its
// threads as well. A step that an
// earlier version finished without some of today's figures is measured again,
// not made again. Folders of
// earlier settings stay, for going back to them, and may be deleted.
//
// # Several at a time
//
// Options.Jobs steps are done at a time, by as many processes as run the study in
// the same folder: each claims a step before it does it, in the folder claims,
// and a process that dies leaves its claims to the others (package claim). What is
// timed is done alone on its machine. [Make] does single steps, for programs that
// run commands in an order of their own; [Recipe.Tasks] says what each step needs.
package study
