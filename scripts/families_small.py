"""The model families that torchvision does not have, in PyTorch: those of small
pictures, MobileNet v1 and EfficientNet-Lite0. families.py lists them by name.
"""

from functools import partial

import torch
from torch import nn
import torch.nn.functional as F


def conv(cin, cout, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=bias)


def kaiming(net):
    """torchvision's start of a ResNet's convolutions."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net


class BasicBlock(nn.Module):
    """A block of the ResNets for small pictures."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(cin, cout, 3, stride), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = conv(cout, cout, 3), nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class PreActBlock(nn.Module):
    """A block of the Wide ResNets."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(cin), conv(cin, cout, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(cout), conv(cout, cout, 3)
        self.convShortcut = conv(cin, cout, 1, stride) if stride != 1 or cin != cout else None

    def forward(self, x):
        z = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(z))))
        return y + (x if self.convShortcut is None else self.convShortcut(z))


def stage(block, cin, cout, repeats, stride):
    return nn.Sequential(*[block(cin if k == 0 else cout, cout, stride if k == 0 else 1) for k in range(repeats)])


class SmallResNet(nn.Module):
    def __init__(self, repeats, widths, classes):
        super().__init__()
        self.conv1, self.bn1 = conv(3, widths[0], 3), nn.BatchNorm2d(widths[0])
        for i in range(3):
            setattr(self, f"layer{i + 1}", stage(BasicBlock, widths[i], widths[i + 1], repeats, 1 if i == 0 else 2))
        self.fc = nn.Linear(widths[3], classes)
        kaiming(self)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Stage(nn.Module):
    """Blocks under the name layer."""

    def __init__(self, *args):
        super().__init__()
        self.layer = stage(*args)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, repeats, widths, classes):
        super().__init__()
        self.conv1 = conv(3, widths[0], 3)
        for i in range(3):
            block = Stage(PreActBlock, widths[i], widths[i + 1], repeats, 1 if i == 0 else 2)
            setattr(self, f"block{i + 1}", block)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)
        kaiming(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class VGG8(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        cin = 3
        for i, cout in enumerate(widths):
            setattr(self, f"block{i}", nn.Sequential(conv(cin, cout, 3, bias=True), nn.BatchNorm2d(cout)))
            cin = cout
        self.classifier = nn.Linear(cin, classes)
        kaiming(self)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.zeros_(m.bias)
        nn.init.normal_(self.classifier.weight, 0, 0.01)

    def forward(self, x):
        for i in range(5):
            x = F.relu(getattr(self, f"block{i}")(x))
            if i < 3:
                x = F.max_pool2d(x, 2)
        return self.classifier(x.mean((2, 3)))


class MobileNetV1(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        layers = [nn.Sequential(conv(3, widths[0], 3, 2), nn.BatchNorm2d(widths[0]), nn.ReLU())]
        for i, cout in enumerate(widths[1:]):
            cin, stride = widths[i], 2 if i in (1, 3, 5, 11) else 1
            depthwise = [conv(cin, cin, 3, stride, groups=cin), nn.BatchNorm2d(cin), nn.ReLU()]
            layers.append(nn.Sequential(*depthwise, conv(cin, cout, 1), nn.BatchNorm2d(cout), nn.ReLU()))
        self.model = nn.Sequential(*layers)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        return self.fc(self.model(x).mean((2, 3)))


def make_divisible(v):
    n = max(8, int(v + 4) // 8 * 8)
    return n + 8 if n < 0.9 * v else n


class SamePad(nn.Conv2d):
    """A convolution that TensorFlow pads as for an image of even size."""

    def __init__(self, cin, cout, kernel, stride, groups=1, bias=False):
        super().__init__(cin, cout, kernel, stride, groups=groups, bias=bias)
        total = kernel - stride if kernel > stride else 0
        self.pads = (total // 2, total - total // 2) * 2

    def forward(self, x):
        return super().forward(F.pad(x, self.pads))


class LiteBlock(nn.Module):
    """A block of EfficientNet-Lite."""

    def __init__(self, cin, cout, kernel, stride, expand):
        super().__init__()
        norm, inner = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01), cin * expand
        self.widens, self.adds = expand > 1, stride == 1 and cin == cout
        if self.widens:
            self._expand_conv, self._bn0 = SamePad(cin, inner, 1, 1), norm(inner)
        self._depthwise_conv, self._bn1 = SamePad(inner, inner, kernel, stride, groups=inner), norm(inner)
        self._project_conv, self._bn2 = SamePad(inner, cout, 1, 1), norm(cout)

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    STAGES = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2)]
    STAGES += [(6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)]

    def __init__(self, classes, base):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        cin = make_divisible(base)
        last = make_divisible(1280 * base / 32)
        self._conv_stem, self._bn0 = SamePad(3, cin, 3, 2), norm(cin)
        blocks = []
        for expand, kernel, channels, repeats, stride in self.STAGES:
            cout = make_divisible(channels * base / 32)
            for k in range(repeats):
                blocks.append(LiteBlock(cin, cout, kernel, stride if k == 0 else 1, expand))
                cin = cout
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SamePad(cin, last, 1, 1), norm(last)
        self._fc = nn.Linear(last, classes)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


def he_normal(t):
    """Keras's he_normal: cut at two standard deviations."""
    std = (2 / t[0].numel()) ** 0.5 / 0.87962566103423978
    return nn.init.trunc_normal_(t, std=std, a=-2 * std, b=2 * std)


class TinyBlock(nn.Module):
    """A block of MLPerf Tiny's ResNet-8: keras pads at the right and the bottom."""

    def __init__(self, cin, cout, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = SamePad(cin, cout, 3, stride, bias=True), norm(cout)
        self.conv2, self.bn2 = SamePad(cout, cout, 3, 1, bias=True), norm(cout)
        self.shortcut = SamePad(cin, cout, 1, stride, bias=True) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class TinyResNet8(nn.Module):
    """MLPerf Tiny's ResNet-8 as Keras computes it."""

    def __init__(self, widths, classes):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        self.conv1, self.bn1 = SamePad(3, widths[0], 3, 1, bias=True), norm(widths[0])
        for i, cout in enumerate(widths):
            setattr(self, f"block{i + 1}", TinyBlock(widths[max(i - 1, 0)], cout, 1 if i == 0 else 2, norm))
        self.fc = nn.Linear(widths[2], classes)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                he_normal(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


class PortBlock(nn.Module):
    """A block of the port of ResNet-8 to PyTorch."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        convs = conv(cin, cout, 3, stride, bias=True), conv(cout, cout, 3, bias=True)
        norms = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.block = nn.Sequential(convs[0], norms[0], nn.ReLU(), convs[1], norms[1])
        self.residual = nn.Identity() if stride == 1 else nn.Conv2d(cin, cout, 1, stride)

    def forward(self, x):
        return F.relu(self.block(x) + self.residual(x))


class PortResNet8(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        a, b, c = widths
        self.stem = nn.Sequential(conv(3, a, 3, bias=True), nn.BatchNorm2d(a), nn.ReLU())
        self.first_stack = PortBlock(a, a, 1)
        self.second_stack = PortBlock(a, b, 2)
        self.third_stack = PortBlock(b, c, 2)
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        return self.fc(self.third_stack(self.second_stack(self.first_stack(self.stem(x)))).mean((2, 3)))
