"""Makes the files of what PyTorch and safetensors store beside plain state_dicts,
and what they themselves read from them.

    python scripts/golden_states.py layers/checkpoint/foreign/testdata/states
    python scripts/golden_states.py --types layers/checkpoint/foreign/testdata/states

The first needs torch, the second NumPy, ml_dtypes and safetensors; the Go tests
need none of them. All weights are random. What each file holds is written to
states.json (types.json) beside them: every tensor's name, shape and float32
values (integers for --types) as PyTorch or ml_dtypes have them.
"""

import argparse
import json
import os


def hexed(a):
    return a.tobytes().hex()


def states(folder):
    import torch
    import torch.nn.utils.prune as prune

    torch.manual_seed(7)
    expected = {}

    def keep(name, obj, tensors):
        torch.save(obj, os.path.join(folder, name))
        torch.load(os.path.join(folder, name), map_location="cpu")
        expected[name] = {k: {"shape": list(v.shape), "hex": hexed(v.detach().float().numpy())} for k, v in tensors.items()}

    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 30, 60])
    keep("multistep.pt", {"epoch": 1, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, net.state_dict())

    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    prune.random_unstructured(net[0], "weight", 0.5)
    prune.l1_unstructured(net[0], "bias", 1)
    prune.ln_structured(net[1], "weight", 0.5, n=2, dim=1)
    prune.random_unstructured(net[2], "weight", 0.5)
    net[2].half()
    net[2].weight = net[2].weight_mask.to(net[2].weight_orig.dtype) * net[2].weight_orig
    whole = {"0.weight": net[0].weight, "0.bias": net[0].bias, "1.weight": net[1].weight, "1.bias": net[1].bias,
             "2.weight": net[2].weight, "2.bias": net[2].bias}
    keep("pruned.pt", net.state_dict(), whole)

    # The names that torch.nn.utils.parametrizations.weight_norm of PyTorch 2 gives
    # stand beside those of torch.nn.utils.weight_norm.
    net = torch.nn.ModuleDict({
        "rows": torch.nn.utils.weight_norm(torch.nn.Conv2d(2, 3, 3)),
        "columns": torch.nn.utils.weight_norm(torch.nn.Linear(4, 3), dim=1),
        "all": torch.nn.utils.weight_norm(torch.nn.Linear(4, 3), dim=None),
    })
    state, whole = net.state_dict(), {}
    for name, module in net.items():
        module.weight_g.data.uniform_(0.5, 2)
        whole[name + ".weight"], whole[name + ".bias"] = torch._weight_norm(
            module.weight_v, module.weight_g, {"rows": 0, "columns": 1, "all": -1}[name]), module.bias
    whole["new.weight"] = whole["rows.weight"]
    state["new.parametrizations.weight.original0"] = state["rows.weight_g"]
    state["new.parametrizations.weight.original1"] = state["rows.weight_v"]
    keep("weight_norm.pt", state, whole)
    write(os.path.join(folder, "states.json"), expected)


def types(folder):
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import load_file, save_file

    floats = {name: np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float32)
              for name in ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]}
    tensors = {"u16": np.array([0, 1, 65535], np.uint16), "u32": np.array([[2**32 - 1, 7]], np.uint32), "u64": np.array(2**63 - 1, np.uint64)}
    path = os.path.join(folder, "types.safetensors")
    save_file(tensors, path)
    read = load_file(path)
    write(os.path.join(folder, "types.json"), {
        "floats": {k: hexed(v) for k, v in floats.items()},
        "integers": {k: {"shape": list(v.shape), "values": [int(x) for x in v.ravel()]} for k, v in read.items()},
    })


def write(path, what):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(what, f, indent=1, sort_keys=True)
        f.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--types", action="store_true", help="make the files of types of elements")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    (types if args.types else states)(args.folder)


if __name__ == "__main__":
    main()
