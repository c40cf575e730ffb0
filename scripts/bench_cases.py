"""The cases of scripts/bench_cpu.sh: what is computed, in which precision, and against whom.

A work is one step of one net on one batch, in Potstill's table of the same names (cmd/potstill/bench_step.go). A case is
a work in a precision of Potstill's, compared with the best of some modes of the others.
"""

from dataclasses import dataclass

CLASSES = 11
CHECK_STEPS = 3
LR = 1e-4  # stepLR of cmd/potstill/bench_step_run.go

# work: (family, what is done)
WORKS = {
    "dwpw_train_128": ("cnn-dwpw", "train"),
    "dwpw_train_256": ("cnn-dwpw", "train"),
    "plain_train_128": ("cnn-plain", "train"),
    "group_train_128": ("cnn-group", "train"),
    "resnet18_train_128": ("resnet18", "train"),
    "distill_128": ("cnn-dwpw", "distill"),
    "dwpw_predict_1_256": ("cnn-dwpw", "infer"),
    "int8_predict_1_256": ("cnn-dwpw", "infer"),
    "resnet18_infer_128": ("resnet18", "infer"),
    "resnet18_predict_1_224": ("resnet18", "infer"),
    "resnet18_infer_32_224": ("resnet18", "infer"),
    "mobilenet_v2_predict_1_224": ("mobilenet_v2", "infer"),
    "mobilenet_v2_infer_32_224": ("mobilenet_v2", "infer"),
    "resnet8_predict_1_32": ("mlperf_resnet8", "infer"),
    "dwpw_int8_1_256": ("cnn-dwpw", "infer"),
    "dwpw_int8_32_256": ("cnn-dwpw", "infer"),
    "mobilenet_v2_int8_1_224": ("mobilenet_v2", "infer"),
    "mobilenet_v2_int8_32_224": ("mobilenet_v2", "infer"),
    "resnet18_int8_1_224": ("resnet18", "infer"),
    "resnet18_int8_32_224": ("resnet18", "infer"),
    "mobilenet_v2_train_224": ("mobilenet_v2", "train"),
    "efficientnet_b0_train_224": ("efficientnet_b0", "train"),
    "resnet50_train_224": ("resnet50", "train"),
    "efficientnet_b0_predict_1_224": ("efficientnet_b0", "infer"),
    "efficientnet_b0_infer_32_224": ("efficientnet_b0", "infer"),
    "resnet50_predict_1_224": ("resnet50", "infer"),
    "resnet50_infer_32_224": ("resnet50", "infer"),
}

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
EAGER, COMPILE, CHANNELS_LAST, NARROW, QUANTIZED = "eager", "compile", "-channels_last", "-bfloat16", "-int8"
PYTORCH = [mode + layout for mode in (EAGER, COMPILE) for layout in ("", CHANNELS_LAST)]
PYTORCH_NARROW = [m + NARROW for m in PYTORCH]
ENGINES = ["onnxruntime", "openvino"]
ENGINES_NARROW = ["openvino" + NARROW]
ENGINES_QUANTIZED = [e + QUANTIZED for e in ENGINES]  # each by a quantizer of its own, with ranges of the batch

# Works that take minutes each: left out unless they are asked for by name.
LONG = {"mobilenet_v2_train_224", "efficientnet_b0_train_224", "efficientnet_b0_predict_1_224", "efficientnet_b0_infer_32_224",
        "resnet50_train_224", "resnet50_predict_1_224", "resnet50_infer_32_224", "resnet18_infer_32_224"}


@dataclass(frozen=True)
class Case:
    name: str
    work: str
    precision: str  # Potstill's
    rivals: tuple  # names of modes

    @property
    def what(self):
        return WORKS[self.work][1]


def tolerance(precision, mode):
    """The largest difference of the first results of Potstill in a precision and of a mode, relative to the loss or to the largest logit, that
    passes for rounding. bfloat16 has 8 bits: a unit in its last place is 2^-8 of a number, and dozens of layers add theirs up. Two quantizers
    choose other ranges, and integers of 8 bits round as much."""
    return 1e-3 if precision == precision_of(mode) == FLOAT32 else 5e-2


def cases():
    """All cases by name: float32 against the best float32 mode of any rival, bfloat16 against the best mode of all, int8 against engines in int8."""
    all_cases = {}
    for work, (_, what) in WORKS.items():
        if "_int8_" in work:
            all_cases[work] = Case(work, work, INT8, tuple(ENGINES_QUANTIZED))
            continue
        engines, narrow = (ENGINES, ENGINES_NARROW) if what == "infer" else ([], [])
        all_cases[work] = Case(work, work, FLOAT32, (*PYTORCH, *engines))
        if not work.startswith("int8"):
            name = work + "_bf16"
            all_cases[name] = Case(name, work, BFLOAT16, (*PYTORCH, *PYTORCH_NARROW, *engines, *narrow))
    return all_cases


def precision_of(mode):
    return BFLOAT16 if mode.endswith(NARROW) else INT8 if mode.endswith(QUANTIZED) else FLOAT32
