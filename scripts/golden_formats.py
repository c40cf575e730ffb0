"""Makes the small files of other programs that the readers' tests read.

    python scripts/golden_formats.py layers/checkpoint/foreign/testdata

Needs torch and numpy; the Go tests need neither. All weights are random. What
each file holds is written to expected.json beside them: the format, the number
of notes, and every tensor's name, type, shape and bytes in row-major order, in
hexadecimal, as PyTorch or NumPy themselves have them. Codes of 8 bits come with
their range and with what NumPy decodes them to.
"""

import argparse
import collections
import io
import json
import os
import pickle
import pickletools
import random
import sys
import zipfile

import numpy as np
import torch

FLOATS = ["float64", "float32", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]
LEGACY = {"_use_new_zipfile_serialization": False}


def types(generator):
    """A tensor of every type, with the values that show a wrong decoding."""
    state = collections.OrderedDict()
    for name in FLOATS:
        t = torch.randn(2, 3, generator=generator, dtype=torch.float64)
        t[0, 0], t[0, 1], t[1, 2] = float("-inf"), -0.0, 6e-8
        state["x." + name] = t.to(getattr(torch, name))
    for name in INTEGERS:
        dtype = getattr(torch, name)
        if name == "bool":
            state["x." + name] = torch.tensor([[True, False, True]])
            continue
        info = torch.iinfo(dtype)
        state["x." + name] = torch.tensor([[info.min, min(info.max, 2**63 - 1), 7]], dtype=dtype)
    return state


def model(generator):
    """A small net's state_dict, with a scalar of int64."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = net.state_dict()
    for t in state.values():
        t.copy_(torch.randn(t.shape, generator=generator) if t.is_floating_point() else torch.tensor(7))
    return state


def views(generator):
    """Tensors that are not whole storages in order."""
    base = torch.randn(4, 6, generator=generator)
    tied = torch.randn(3, 2, generator=generator)
    return collections.OrderedDict(
        strided=base[1:, ::2], transposed=base.t(), row=base[2], whole=base, expanded=torch.randn(3, 1, generator=generator).expand(3, 4),
        first=tied, second=tied, parameter=torch.nn.Parameter(tied[1:]), scalar=base[3, 5], empty=base[:0], zero_rows=torch.zeros(0, 5),
        channels_last=torch.randn(2, 3, 2, 2, generator=generator).to(memory_format=torch.channels_last),
    )


def checkpoint(generator):
    """What training scripts save: a state_dict of a DataParallel model among other things."""
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = collections.OrderedDict(("module." + k, torch.randn(v.shape, generator=generator)) for k, v in net.state_dict().items())
    return {
        "epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict(), "best": np.float64(0.5), "loss": torch.tensor(0.25),
        "args": argparse.Namespace(lr=0.1, name="x"), "when": collections.defaultdict(list, a=[1.5]), "device": torch.device("cuda:0"),
        "size": torch.Size([2, 3]), "dtype": torch.float16, "ids": {1, 2},
    }


def study(generator, bits):
    """The study's dict of a small net: 8-bit codes with a range, or float16."""
    out = {}
    for name, t in model(generator).items():
        w = np.float64(t.numpy())
        if bits == 16:
            out[name] = np.float16(w)
        elif w.ndim == 0:
            out[name] = w
        else:
            lo, hi = np.min(w), np.max(w)
            out[name] = (lo, hi, np.uint8(np.round((w - lo) / (hi - lo) * 255)))
    return out


def arrays(generator):
    """Arrays of every plain type of NumPy, and what else may stand in their place."""
    out = {"a." + n: np.arange(6).reshape(2, 3).astype(n) for n in
           ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]}
    out["fortran"] = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    out["strided"] = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    out["zero_rows"] = np.zeros((0, 3), np.float32)
    out["point"] = np.array(1.5, np.float32)
    out["scalar"] = np.int64(5)
    out["float"], out["int"] = 2.5, -3
    return out


def old_names(data):
    """The pickle as NumPy of the study's time would have written it: with the
    names before version 2, and 0 and 1 where a dtype now has False and True."""
    data = data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")
    for n in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + n, b"numpy.core." + n
        data = data.replace(b"c" + new + b"\n", b"c" + old + b"\n")
        data = data.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
    return pickletools.optimize(data) if data[1] >= 4 else data  # which sets the lengths of frames again


def expected(format, notes, tensors):
    """What a reader must give, as JSON."""
    rows = []
    for name, t in tensors.items():
        row = {"name": name}
        if isinstance(t, tuple):
            lo, hi, codes = t
            row.update(dtype="uint8", shape=list(codes.shape), hex=codes.tobytes().hex(), min=float(lo), max=float(hi))
            decoded = (codes / 255 * (hi - lo) + lo).astype(np.float32)
            row["decoded"] = decoded.tobytes().hex()
        elif isinstance(t, torch.Tensor):
            t = t.detach().contiguous()
            row.update(dtype=str(t.dtype).removeprefix("torch."), shape=list(t.shape))
            row["hex"] = bytes(t.flatten().view(torch.uint8).tolist()).hex() if t.numel() else ""
        else:
            t = np.asarray(t)
            row.update(dtype=str(t.dtype), shape=list(t.shape), hex=np.ascontiguousarray(t).tobytes().hex())
        rows.append(row)
    return {"format": format, "notes": notes, "tensors": rows}


class Goldens:
    def __init__(self, folder):
        self.folder, self.expected = folder, {}

    def write(self, name, data, format, notes, tensors):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(data)
        self.expected[name] = expected(format, notes, tensors)

    def torch(self, name, content, tensors=None, notes=0, edit=lambda b: b, **kw):
        buffer = io.BytesIO()
        torch.save(content, buffer, **kw)
        legacy = "_use_new_zipfile_serialization" in kw
        self.write(name, edit(buffer.getvalue()), "PyTorch legacy" if legacy else "PyTorch zip", notes, tensors or content)

    def pickle(self, name, content, protocol, format, edit=lambda b: b):
        self.write(name, edit(pickle.dumps(content, protocol=protocol)), format, 0, content)


def deflated(data):
    """The zip file with its entries compressed and in another order."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist(), reverse=True):
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def torch_files(g, generator):
    for kind, kw in (("zip", {}), ("legacy", LEGACY)):
        g.torch(f"{kind}_types.pt", types(generator), **kw)
        g.torch(f"{kind}_views.pt", views(generator), **kw)
        content = checkpoint(generator)
        inner = {k.removeprefix("module."): v for k, v in content["state_dict"].items()}
        g.torch(f"{kind}_checkpoint.pt", content, inner, notes=3, **kw)
        for protocol in (3, 4, 5):
            g.torch(f"{kind}_protocol{protocol}.pt", model(generator), pickle_protocol=protocol, **kw)
    state = model(generator)
    g.torch("zip_deflated.pt", state, edit=deflated)
    g.torch("zip_nested.pt", {"net": {"model": state}}, state, notes=2)
    g.torch("zip_compiled.pt", {"_orig_mod.module." + k: v for k, v in state.items()}, state, notes=2)
    torch.serialization.set_crc32_options(False)
    g.torch("zip_nosum.pt", state)
    torch.serialization.set_crc32_options(True)
    # Storages say where they were; what is saved here says that it was a GPU.
    torch.serialization.register_package(0, lambda storage: "cuda:0", lambda storage, location: None)
    g.torch("zip_cuda.pt", state)
    g.torch("legacy_cuda.pt", state, **LEGACY)


def study_files(g, generator):
    for protocol in range(6):
        g.pickle(f"study8_protocol{protocol}.pkl", study(generator, 8), protocol, "8-bit pickle")
        g.pickle(f"study8_protocol{protocol}_old.pkl", study(generator, 8), protocol, "8-bit pickle", old_names)
    for protocol in (2, 3, 5):
        g.pickle(f"study16_protocol{protocol}.pkl", study(generator, 16), protocol, "16-bit pickle")
    g.pickle("study16_protocol3_old.pkl", study(generator, 16), 3, "16-bit pickle", old_names)
    for protocol in (2, 5):
        g.pickle(f"arrays_protocol{protocol}.pkl", arrays(generator), protocol, "16-bit pickle")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "layers/checkpoint/foreign/testdata"
    os.makedirs(folder, exist_ok=True)
    random.seed(1)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2027)
    g = Goldens(folder)
    study_files(g, generator)
    torch_files(g, generator)
    with open(os.path.join(folder, "expected.json"), "w") as f:
        f.write("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in g.expected.items()) + "\n}\n")
    print(f"{len(g.expected)} files in {folder}")


if __name__ == "__main__":
    main()
