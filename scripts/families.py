"""PyTorch definitions of the model families that the compression study does not
have: torchvision's, with the widths of another base where the definition takes
none, and those of families_small.py.

What the Go tests and scripts/families_check.sh compare with is made from these.
Run as a program it prints the state_dict of a family, a tensor a line:

    python scripts/families.py resnet34 [BASE]
"""

import sys
import warnings
from functools import partial

from torch import nn
import torchvision.models as tv

from families_small import (EfficientNetLite0, MobileNetV1, PortResNet8, SmallResNet, TinyResNet8, VGG8, WideResNet,
                            conv, kaiming)


def scaled(channels, base, own):
    """channels·base/own to the nearest, but at least 1."""
    return max(1, (2 * channels * base + own) // (2 * own))


def resnet(block, repeats, own_widths=(64, 128, 256, 512), inner=1, groups=1):
    """torchvision's ResNet, whose stages may have other widths."""

    def build(classes, base):
        multiple = 16 if groups > 1 else 1
        widths = [scaled(w, base, 64 * multiple) * multiple for w in own_widths]
        net = tv.resnet.ResNet(block, repeats, classes, groups=groups, width_per_group=64 * inner // groups)
        net.inplanes = widths[0]
        net.conv1, net.bn1 = conv(3, widths[0], 7, 2), nn.BatchNorm2d(widths[0])
        for i, w in enumerate(widths):
            setattr(net, f"layer{i + 1}", net._make_layer(block, w, repeats[i], stride=1 if i == 0 else 2))
        net.fc = nn.Linear(widths[-1] * block.expansion, classes)
        return kaiming(net)

    return build


def shufflenet(own_widths):
    def build(classes, base):
        widths = [max(1, (2 * w * base + 48) // 96) * 2 for w in own_widths]
        return tv.shufflenetv2.ShuffleNetV2([4, 8, 4], widths, num_classes=classes)

    return build


def densenet(classes, base):
    return tv.DenseNet(scaled(32, base, 64), (6, 12, 24, 16), base, num_classes=classes)


def regnet(widths, repeats, group, se=None):
    def build(classes, base):
        g = scaled(group, base, 32)
        params = tv.regnet.BlockParams(
            repeats, [scaled(w, base, 32 * g) * g for w in widths], [g] * 4, [1.0] * 4, [2] * 4, se
        )
        norm = partial(nn.BatchNorm2d, eps=1e-5, momentum=0.1)
        return tv.regnet.RegNet(params, num_classes=classes, stem_width=base, norm_layer=norm)

    return build


def vgg(layers, batch_norm):
    def build(classes, base):
        cfg = [v if v == "M" else scaled(v, base, 64) for v in layers]
        net = tv.vgg.VGG(tv.vgg.make_layers(cfg, batch_norm), classes)
        hidden = scaled(4096, base, 64)
        widths = [49 * scaled(512, base, 64), hidden, hidden, classes]
        for i, k in enumerate((0, 3, 6)):
            net.classifier[k] = nn.Linear(widths[i], widths[i + 1])
            nn.init.normal_(net.classifier[k].weight, 0, 0.01)
            nn.init.zeros_(net.classifier[k].bias)
        return net

    return build


def mobilenet_v3(arch):
    def build(classes, base):
        blocks, last = tv.mobilenetv3._mobilenet_v3_conf(arch, width_mult=base / 16)
        return tv.mobilenetv3._mobilenet_v3(blocks, last, None, False, num_classes=classes)

    return build


def efficientnet(depth):
    def build(classes, base):
        blocks, last = tv.efficientnet._efficientnet_conf("efficientnet_b0", width_mult=base / 32, depth_mult=depth)
        return tv.EfficientNet(blocks, 0.2, num_classes=classes, last_channel=last)

    return build


def convnext(classes, base):
    widths = [scaled(w, base, 96) for w in (96, 192, 384, 768)] + [None]
    blocks = [tv.convnext.CNBlockConfig(widths[i], widths[i + 1], n) for i, n in enumerate((3, 3, 9, 3))]
    return tv.ConvNeXt(blocks, 0.1, num_classes=classes)


def divided(make, own):
    """A net whose widths stand in its definition, all divided by own over base."""

    def build(classes, base):
        net, by = make(num_classes=classes), own // base
        for path, m in list(net.named_modules()):
            if isinstance(m, nn.Conv2d):
                cin = m.in_channels if m.in_channels == 3 else m.in_channels // by
                cout = classes if m.out_channels == classes else m.out_channels // by
                new = nn.Conv2d(cin, cout, m.kernel_size, m.stride, m.padding, bias=m.bias is not None)
            elif isinstance(m, nn.BatchNorm2d):
                new = nn.BatchNorm2d(m.num_features // by, m.eps, m.momentum)
            elif isinstance(m, nn.Linear):
                new = nn.Linear(m.in_features // by, classes)
            else:
                continue
            parent, _, name = path.rpartition(".")
            setattr(net.get_submodule(parent), name, new)
        return net

    return build


def googlenet(**kwargs):
    return tv.googlenet(aux_logits=False, init_weights=True, **kwargs)


def inception_v3(**kwargs):
    return tv.inception_v3(aux_logits=False, init_weights=True, **kwargs)


def plain(module, own, multipliers, *args):
    """A net of a list of widths, multiples of a base."""
    return lambda classes, base: module(*args, [scaled(own * m, base, own) for m in multipliers], classes)


SMALL, SMALL4 = (16, [1, 1, 2, 4]), (32, [1, 2, 4, 8])
MOBILE = [1, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32]
VGG11 = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
BASIC, BOTTLENECK = tv.resnet.BasicBlock, tv.resnet.Bottleneck

# By name: the family's own base, a function of classes and base, and the size of
# the pictures that its figures are quoted for.
FAMILIES = {
    "resnet18": (64, resnet(BASIC, [2, 2, 2, 2]), 224),
    "resnet34": (64, resnet(BASIC, [3, 4, 6, 3]), 224),
    "resnet50": (64, resnet(BOTTLENECK, [3, 4, 6, 3]), 224),
    "resnet101": (64, resnet(BOTTLENECK, [3, 4, 23, 3]), 224),
    "resnet152": (64, resnet(BOTTLENECK, [3, 8, 36, 3]), 224),
    "resnext50_32x4d": (64, resnet(BOTTLENECK, [3, 4, 6, 3], inner=2, groups=32), 224),
    "wide_resnet50_2": (64, resnet(BOTTLENECK, [3, 4, 6, 3], inner=2), 224),
    "vgg11_bn": (64, vgg(VGG11, True), 224),
    "vgg16": (64, vgg(VGG16, False), 224),
    "vgg16_bn": (64, vgg(VGG16, True), 224),
    "googlenet": (64, divided(googlenet, 64), 224),
    "inception_v3": (32, divided(inception_v3, 32), 299),
    "squeezenet1_1": (64, divided(tv.squeezenet1_1, 64), 224),
    "mobilenet_v2": (32, lambda classes, base: tv.MobileNetV2(classes, base / 32), 224),
    "mobilenet_v3_small": (16, mobilenet_v3("mobilenet_v3_small"), 224),
    "mobilenet_v3_large": (16, mobilenet_v3("mobilenet_v3_large"), 224),
    "mnasnet1_0": (32, lambda classes, base: tv.MNASNet(base / 32, classes), 224),
    "shufflenet_v2_x0_5": (24, shufflenet([24, 48, 96, 192, 1024]), 224),
    "shufflenet_v2_x1_0": (24, shufflenet([24, 116, 232, 464, 1024]), 224),
    "densenet121": (64, densenet, 224),
    "regnet_x_400mf": (32, regnet([32, 64, 160, 400], [1, 2, 7, 12], 16), 224),
    "regnet_y_400mf": (32, regnet([48, 104, 208, 440], [1, 3, 6, 6], 8, 0.25), 224),
    "efficientnet_b0": (32, efficientnet(1.0), 224),
    "efficientnet_b1": (32, efficientnet(1.1), 240),
    "convnext_tiny": (96, convnext, 224),
    "mobilenet_v1": (32, plain(MobileNetV1, 32, MOBILE), 224),
    "efficientnet_lite0": (32, EfficientNetLite0, 224),
    "resnet20": (16, plain(SmallResNet, *SMALL, 3), 32),
    "resnet32": (16, plain(SmallResNet, *SMALL, 5), 32),
    "resnet44": (16, plain(SmallResNet, *SMALL, 7), 32),
    "resnet56": (16, plain(SmallResNet, *SMALL, 9), 32),
    "resnet110": (16, plain(SmallResNet, *SMALL, 18), 32),
    "resnet8x4": (32, plain(SmallResNet, *SMALL4, 1), 32),
    "resnet32x4": (32, plain(SmallResNet, *SMALL4, 5), 32),
    "wrn_16_2": (16, plain(WideResNet, 16, [1, 2, 4, 8], 2), 32),
    "wrn_40_2": (16, plain(WideResNet, 16, [1, 2, 4, 8], 6), 32),
    "vgg8": (64, plain(VGG8, 64, [1, 2, 4, 8, 8]), 32),
    "mlperf_resnet8": (16, plain(TinyResNet8, 16, [1, 2, 4]), 32),
    "mlperf_resnet8_torch": (16, plain(PortResNet8, 16, [1, 2, 4]), 32),
}

# torchvision's own constructors, to which the functions above are held.
CONSTRUCTORS = {name: getattr(tv, name) for name in FAMILIES if hasattr(tv, name)}
CONSTRUCTORS |= {"googlenet": googlenet, "inception_v3": inception_v3}


def build(name, classes, base=None):
    """The net of a family, in PyTorch's initial state."""
    own, make, _ = FAMILIES[name]
    if base in (None, own) and name in CONSTRUCTORS:
        return CONSTRUCTORS[name](num_classes=classes)
    return make(classes, base or own)


def listing(net):
    """The tensors of a state_dict as text, a line each: name, type, shape."""
    lines = []
    for name, t in net.state_dict().items():
        shape = "x".join(map(str, t.shape)) or "scalar"
        lines.append(f"{name} {str(t.dtype).removeprefix('torch.')} {shape}\n")
    return "".join(lines)


def still(net):
    """Switches dropout and stochastic depth off, in place."""
    for m in net.modules():
        if hasattr(m, "p") and type(m).__name__ in ("Dropout", "StochasticDepth"):
            m.p = 0.0
    return net


if __name__ == "__main__":
    sys.stdout.write(listing(build(sys.argv[1], 1000, int(sys.argv[2]) if len(sys.argv) > 2 else None)))
