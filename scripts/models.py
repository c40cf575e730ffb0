"""PyTorch definitions of Potstill's model families.

The goldens and the lists of tensor names that the Go tests compare with are
made from these (scripts/golden.py). Run as a program, this file writes the
lists:

    python scripts/models.py layers/testdata
"""

import os
import sys

import torch
from torch import nn

BASE = {"resnet18": 64, "shufflenet_v2_x0_5": 24}
SHUFFLENET = [24, 48, 96, 192, 1024]
MULTIPLIERS = {
    "cnn-plain": [1, 2, 4, 8, 8],
    "cnn-dwpw": [1, 2, 4, 8, 8, 8, 16, 16, 16],
    "cnn-group": [1, 2, 4, 8, 8, 8],
    "cnn-group-printed": [1, 2, 4, 8, 8, 8],
    "hw7-student": [1, 2, 4, 8, 16, 16, 16, 16],
    "resnet18": [1, 2, 4, 8],
    "shufflenet_v2_x0_5": [],  # see widths_of
}


def widths_of(family, base=None):
    """The output channels of every block."""
    base = base or BASE.get(family, 16)
    if family == "shufflenet_v2_x0_5":
        return [max(1, (2 * w * base + 48) // 96) * 2 for w in SHUFFLENET]
    return [base * m for m in MULTIPLIERS[family]]


def block(family, i, cin, cout):
    """Block i of a cnn family."""
    pointwise = []
    if i == 0 or family == "cnn-plain":
        conv = nn.Conv2d(cin, cout, 3, padding=1)
    elif family in ("cnn-dwpw", "hw7-student"):
        conv = nn.Conv2d(cin, cin, 3, padding=1, groups=cin)
        pointwise = [nn.Conv2d(cin, cout, 1)]
    elif family == "cnn-group":
        conv = nn.Conv2d(cin, cin, 3, padding=1, groups=2)
        pointwise = [nn.Conv2d(cin, cout, 1)]
    elif family == "cnn-group-printed":
        conv = nn.Conv2d(cin, cout, 3, padding=1, groups=2)
    else:
        raise ValueError(family)
    pool = [nn.MaxPool2d(2)] if i <= 3 else []
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU6(), *pointwise, *pool)


class CNN(nn.Module):
    """The cnn families: blocks, global average pooling, one linear layer."""

    def __init__(self, family, classes, widths, in_channels=3):
        super().__init__()
        blocks, cin = [], in_channels
        for i, cout in enumerate(widths):
            blocks.append(block(family, i, cin, cout))
            cin = cout
        self.cnn = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d((1, 1)))
        self.fc = nn.Sequential(nn.Linear(cin, classes))

    def forward(self, x):
        return self.fc(self.cnn(x).flatten(1))


def resnet18(classes, widths):
    """torchvision's ResNet-18, whose stages may have other widths."""
    from torchvision.models import resnet  # here, for the other families do without torchvision

    if widths == widths_of("resnet18"):
        return resnet.resnet18(num_classes=classes)
    net = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=classes)
    net.inplanes = widths[0]
    net.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(widths[0])
    for i, w in enumerate(widths):
        setattr(net, f"layer{i + 1}", net._make_layer(resnet.BasicBlock, w, 2, stride=1 if i == 0 else 2))
    net.fc = nn.Linear(widths[-1], classes)
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net


def build(family, classes, base=None, widths=None):
    """The model of a family, in PyTorch's initial state."""
    widths = widths or widths_of(family, base)
    if family == "shufflenet_v2_x0_5":
        from torchvision.models import shufflenetv2

        return shufflenetv2.ShuffleNetV2([4, 8, 4], widths, num_classes=classes)
    return resnet18(classes, widths) if family == "resnet18" else CNN(family, classes, widths)


def summarize(model, h, w):
    """torchsummary's rows for one image: (type, output shape without batch, parameters)."""
    rows = []

    def hook(module, _, out):
        own = sum(p.numel() for n, p in module.named_parameters(recurse=False) if n in ("weight", "bias"))
        rows.append((type(module).__name__, list(out.shape[1:]), own))

    handles = [
        m.register_forward_hook(hook)
        for m in model.modules()
        if not isinstance(m, (nn.Sequential, nn.ModuleList)) and m is not model
    ]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, h, w))
    for handle in handles:
        handle.remove()
    return rows


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for family in MULTIPLIERS:
        model = build(family, 11)
        with open(os.path.join(folder, f"state_{family}.txt"), "w") as f:
            f.write(f"# state_dict of {family}, 11 classes: name, dtype, shape. Made by scripts/models.py.\n")
            for name, t in model.state_dict().items():
                shape = "x".join(map(str, t.shape)) or "scalar"
                f.write(f"{name} {str(t.dtype).removeprefix('torch.')} {shape}\n")
        with open(os.path.join(folder, f"summary_{family}.txt"), "w") as f:
            f.write(f"# modules of {family}, 11 classes, 3x64x64, in order of execution, as torchsummary\n")
            f.write("# counts them: type, output shape, parameters. Made by scripts/models.py.\n")
            for kind, shape, own in summarize(model, 64, 64):
                f.write(f"{kind} {'x'.join(map(str, shape))} {own}\n")
        print(family, sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "layers/testdata")
