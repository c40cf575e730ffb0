"""Writes ONNX's test cases as files, for potstill verify.

    onnx_cases.py node DIR     the 297 single-node cases of the operators of CNNs
    onnx_cases.py quant DIR    the single-node cases of quantization
    onnx_cases.py light DIR    the nine light models with seeded random weights, and
                               ONNX Runtime's outputs

Needs onnx; for the light models onnxruntime too. Each case is a folder with
model.onnx and test_data_set_0/input_K.pb, output_K.pb: ONNX's own layout.

The package onnx holds the node cases as code, not as files. Those taken have one
node, floats of 32 bits or integers of 64 in and out (those of quantization: of any type),
no training mode, and no windows over other than two dimensions. The light models come with constants for
weights (ConstantOfShape), on which nothing can be told apart: here each is
replaced by normal numbers of variance 2/fan-in, variances of batch norms by
|normal| + 0.5.
"""

import argparse
import pathlib
import shutil
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPERATORS = """Conv BatchNormalization MaxPool AveragePool GlobalAveragePool GlobalMaxPool Gemm MatMul Add Sub Mul Div Pow
Sqrt Exp Erf Tanh Max Min Sum Mean Concat Clip Relu LeakyRelu PRelu Elu Selu HardSwish HardSigmoid Sigmoid Gelu Mish Softplus
Swish Softmax LogSoftmax Flatten Reshape Transpose Pad ReduceMean ReduceSum ReduceMax Squeeze Unsqueeze Split Slice Constant
Identity Dropout LRN LayerNormalization GroupNormalization InstanceNormalization Shape Gather Expand""".split()
QUANTIZATION = "QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger DynamicQuantizeLinear".split()
POOLS = {"MaxPool", "AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool"}


def write(folder, model, inputs, outputs):
    if folder.exists():
        shutil.rmtree(folder)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, values, infos in (("input", inputs, model.graph.input), ("output", outputs, model.graph.output)):
        for k, v in enumerate(values):
            name = infos[k].name if k < len(infos) else ""
            t = v if isinstance(v, onnx.TensorProto) else numpy_helper.from_array(np.asarray(v), name)
            (data / f"{kind}_{k}.pb").write_bytes(t.SerializeToString())


def core(case):
    """Whether a node case is of the acceptance set."""
    graph = case.model.graph
    if len(graph.node) != 1 or graph.node[0].op_type not in OPERATORS or len(case.data_sets) != 1:
        return False
    node = graph.node[0]
    inputs, outputs = case.data_sets[0]
    for v in list(inputs) + list(outputs):
        if not isinstance(v, np.ndarray) and not np.isscalar(v):
            return False
    plain = (np.float32, np.int64)
    if any(np.asarray(v).dtype not in plain for v in inputs) or any(np.asarray(v).dtype not in plain for v in outputs):
        return False
    if "training" in case.name or "train" in case.name.split("_"):
        return False
    return node.op_type not in POOLS or np.asarray(inputs[0]).ndim == 4


def quantization(case):
    """Whether a node case is one of quantization."""
    graph = case.model.graph
    return len(graph.node) == 1 and graph.node[0].op_type in QUANTIZATION and len(case.data_sets) == 1


def node_cases(out, wanted):
    from onnx.backend.test.case.node import collect_testcases

    count = 0
    for case in collect_testcases():
        if case.name.endswith("_expanded") or "_expanded_" in case.name or not wanted(case):
            continue
        inputs, outputs = case.data_sets[0]
        write(out / case.name, case.model, inputs, outputs)
        count += 1
    print(f"{count} cases in {out}")


def randomize(model, rng):
    """Gives every constant of one value in the graph random values instead."""
    graph = model.graph
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made = {}
    nodes = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    users = {}
    for n in nodes:
        for k, name in enumerate(n.input):
            users.setdefault(name, (n.op_type, k))
    for n in graph.node:
        if n.op_type != "ConstantOfShape":
            continue
        shape = [int(d) for d in shapes[n.input[0]]]
        op, place = users[n.output[0]]
        if op == "BatchNormalization" and place == 4:
            value = np.abs(rng.standard_normal(shape)) + 0.5
        elif len(shape) > 1:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif op == "BatchNormalization" and place == 1:
            value = 1 + 0.1 * rng.standard_normal(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        made[n.output[0]] = numpy_helper.from_array(value.astype(np.float32), n.output[0])
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(made.values())
    for name, t in made.items():  # of IR version 3: initializers are inputs, too
        graph.input.append(helper.make_tensor_value_info(name, t.data_type, list(t.dims)))


def light_models(out):
    import onnx.backend.test.runner as _runner
    import onnxruntime as ort

    folder = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    del _runner
    for path in sorted(folder.glob("*.onnx")):
        name = path.stem.removeprefix("light_")
        model = onnx.load(path)
        rng = np.random.default_rng(sum(name.encode()))
        randomize(model, rng)
        inits = {t.name for t in model.graph.initializer}
        image = next(i for i in model.graph.input if i.name not in inits)
        shape = [d.dim_value for d in image.type.tensor_type.shape.dim]
        x = rng.standard_normal(shape).astype(np.float32)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        inputs = [x]
        rest = [i for i in model.graph.input if i.name in inits]
        for i in rest:
            model.graph.input.remove(i)
        write(out / name, model, inputs, session.run(None, {image.name: x}))
        print(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["node", "quant", "light"])
    parser.add_argument("dir", type=pathlib.Path)
    args = parser.parse_args()
    if args.what == "light":
        light_models(args.dir)
    else:
        node_cases(args.dir, core if args.what == "node" else quantization)


if __name__ == "__main__":
    sys.exit(main())
