"""Checks the ONNX files of a folder that scripts/onnx_check has written.

For each NAME.safetensors in the folder: every ONNX file that its claims name goes
through onnx.checker (with shape inference) and runs in ONNX Runtime, in batches of
one and of all images, against potstill's logits. A claim is the largest error in
units of the largest logit, or the share of images whose first class is the same.

    onnx_check.py DIR             check
    onnx_check.py --golden DIR    write DIR/ort.json: the logits of each .onnx in DIR
                                  on images made by a formula (see golden)
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime as ort

OPSET, IR = 17, 8
TYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(path):
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    meta = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        if t["dtype"] in TYPES:
            lo, hi = t["data_offsets"]
            tensors[name] = np.frombuffer(raw[8 + n + lo : 8 + n + hi], TYPES[t["dtype"]]).reshape(t["shape"])
    return tensors, meta


def load(path):
    """Checks a file's structure and returns a session."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == IR and [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)], path
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), model


def run(session, images):
    return session.run(["logits"], {"images": images})[0]


def optimized_ops(path):
    """How often each operator is there after ONNX Runtime's optimization."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    out = path.with_suffix(".optimized")
    options.optimized_model_filepath = str(out)
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    count = {}
    for node in onnx.load(out).graph.node:
        count[node.op_type] = count.get(node.op_type, 0) + 1
    out.unlink()
    return count


def check(folder, show_ops):
    failed = checked = 0
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}")
    print(f"{'file':44} {'bytes':>10} {'max error':>10} {'agree':>7} {'top-1':>7}")
    for path in sorted(folder.glob("*.safetensors")):
        tensors, meta = read_safetensors(path)
        images = tensors["images"]
        for claim in json.loads(meta["claims"]):
            want = tensors[claim["logits"]]
            file = folder / claim["file"]
            session, _ = load(file)
            got = np.concatenate([run(session, part) for part in np.array_split(images, max(1, len(images) // 50))])
            one = run(session, images[:1])
            error = float(np.abs(got - want).max() / np.abs(want).max())
            agree = float((got.argmax(1) == want.argmax(1)).mean())
            ok = np.isfinite(got).all() and np.allclose(one, got[:1], rtol=1e-4, atol=1e-4 * np.abs(want).max())
            ok = ok and error <= claim.get("max_error", np.inf) and agree >= claim.get("agree", 0)
            top1 = ""
            if "labels" in tensors:
                top1 = f"{100 * (got.argmax(1) == tensors['labels']).mean():6.2f}%"
            print(f"{claim['file']:44} {file.stat().st_size:10} {error:10.2e} {100 * agree:6.2f}% {top1:>7}{'' if ok else '  FAILED'}")
            if show_ops:
                print("    " + ", ".join(f"{k} {v}" for k, v in sorted(optimized_ops(file).items())))
            checked, failed = checked + 1, failed + (not ok)
        for name in [k for k in tensors if k.startswith("logits") and "labels" in tensors]:
            top1 = 100 * (tensors[name].argmax(1) == tensors["labels"]).mean()
            kind = name.removeprefix("logits") or "float32"
            print(f"{path.stem + ', potstill, ' + kind:44} {len(images):10} images{'':13}{top1:6.2f}%")
    print(f"{checked} files checked, {failed} failed")
    return 1 if failed or not checked else 0


def golden(folder):
    """The images are a formula, so that they need not be stored: element i of each
    file's input, of three images, is (i·7919 mod 256)/255."""
    logits = {}
    for path in sorted(folder.glob("*.onnx")):
        session, _ = load(path)
        shape = [3] + session.get_inputs()[0].shape[1:]
        i = np.arange(np.prod(shape), dtype=np.int64)
        images = (i * 7919 % 256).astype(np.float32) / np.float32(255)
        logits[path.name] = [[float(str(x)) for x in row] for row in run(session, images.reshape(shape))]
    rows = ",\n".join(json.dumps(k) + ": " + json.dumps(v) for k, v in logits.items())
    (folder / "ort.json").write_text("{\n" + rows + "\n}\n")
    print(f"{folder / 'ort.json'}: {len(logits)} files")
    return 0 if logits else 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--golden", action="store_true")
    p.add_argument("--ops", action="store_true", help="show the operators after ONNX Runtime's optimization")
    p.add_argument("dir", type=pathlib.Path)
    a = p.parse_args()
    sys.exit(golden(a.dir) if a.golden else check(a.dir, a.ops))


if __name__ == "__main__":
    main()
