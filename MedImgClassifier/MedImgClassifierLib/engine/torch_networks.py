"""The registry's networks as torch modules with one face: `encode` for the runtime, `forward` for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Network(nn.Module):
    """A convolutional body that yields maps, and a head that ends in one linear layer."""

    head: nn.Linear

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        """images [N, C, H, W] -> features [N, D] for the last linear layer, and maps or None.

        maps are [N, D, h, w], the features before pooling, where evidence is closed form, and class maps
        [N, L, h, w] where it is made through the head's gradient.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] -> logits [N, L]."""
        return cast(Tensor, self.head(self.encode(images, maps=False)[0]))


class TorchvisionResNet(Network):
    """ResNet-18/34/50 of torchvision (He et al. 2016)."""

    def __init__(self, builder: str, labels: int, channels: int) -> None:
        super().__init__()
        import torchvision

        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels)
        _set_channels(self.net, "conv1", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.fc)

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return x.mean((2, 3)), x if maps else None


class TorchvisionFullyConnected(Network):
    """AlexNet (Krizhevsky 2014) and VGG with batch norm (Simonyan & Zisserman 2015) of torchvision."""

    def __init__(self, builder: str, labels: int, channels: int) -> None:
        super().__init__()
        import torchvision

        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels)
        _set_channels(self.net.features, "0", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.classifier[-1])

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        body = self.net.features(images)
        features = self.net.classifier[:-1](torch.flatten(self.net.avgpool(body), 1))
        return features, self._class_maps(body) if maps else None

    def _class_maps(self, body: Tensor) -> Tensor:
        """Grad-CAM (Selvaraju et al. 2017) of every class as forward products, [N, L, h, w], signed.

        The head is linear layers with ReLU between, so d logit / d input is a product of weight matrices with the
        active units' masks. Average pooling before them spreads each gradient evenly: the sum over its cells does
        not change, so the mean gradient of a channel is a sum over pooled cells divided by h * w.
        """
        first, second, last = (layer for layer in self.net.classifier if isinstance(layer, nn.Linear))
        hidden = F.relu(first(torch.flatten(self.net.avgpool(body), 1)))
        active = F.relu(second(hidden)) > 0
        gradient = last.weight * active[:, None]  # [N, L, D2]
        gradient = (gradient @ second.weight) * (hidden > 0)[:, None]  # [N, L, D1]
        per_channel = first.weight.reshape(len(first.weight), body.shape[1], -1).sum(2)  # [D1, C]
        mean_gradient = gradient @ per_channel / (body.shape[2] * body.shape[3])  # [N, L, C]
        return torch.einsum("nlc,nchw->nlhw", mean_gradient, body)


class NarrowResNet(Network):
    """A ResNet of about a million parameters for small images: 3x3 convolutions, average-pooled steps (which keep
    cells centred and small shifts harmless), output stride 8, global average pool and one linear layer."""

    def __init__(
        self,
        labels: int,
        channels: int,
        widths: Sequence[int] = (24, 48, 96, 144),
        blocks: Sequence[int] = (1, 2, 2, 2),
    ) -> None:
        super().__init__()
        _check_size(widths, 512)
        _check_size(blocks, 32)
        stages: list[nn.Module] = [_conv_norm(channels, widths[0]), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        before = widths[0]
        for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if index in (1, 2):
                stages.append(nn.AvgPool2d(2))
            for _ in range(count):
                stages.append(_Block(before, width))
                before = width
        self.body = nn.Sequential(*stages)
        self.head = nn.Linear(before, labels)

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        x = self.body(images)
        return x.mean((2, 3)), x if maps else None


def _check_size(numbers: Sequence[int], largest: int) -> None:
    """Options come from bundles: a network too large to build is refused before it takes memory or time."""
    whole = all(type(number) is int and 0 < number <= largest for number in numbers)
    if not whole or len(numbers) > 8:
        raise ValueError(f"{list(numbers)[:8]} are not up to 8 whole numbers from 1 to {largest}")


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016), without stride."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.first = _conv_norm(before, width)
        self.second = _conv_norm(width, width)
        self.shortcut = nn.Identity() if before == width else _conv_norm(before, width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def _conv_norm(before: int, width: int, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width))


def _set_channels(parent: nn.Module, name: str, channels: int) -> None:
    """Replace an RGB convolution by one for `channels` input channels."""
    old = cast(nn.Conv2d, getattr(parent, name))
    if channels != old.in_channels:
        keep = {k: getattr(old, k) for k in ("kernel_size", "stride", "padding")}
        setattr(parent, name, nn.Conv2d(channels, old.out_channels, **keep, bias=old.bias is not None))


def build(torchvision: str, evidence: str, labels: int, channels: int, options: Mapping[str, Any]) -> Network:
    """Called through networks.build, which checks the arguments and reads the registry."""
    if not torchvision:
        return NarrowResNet(labels, channels, **options)
    kind = TorchvisionResNet if evidence == "closed_form" else TorchvisionFullyConnected
    return kind(torchvision, labels, channels)


def fuse_batch_norms(network: Network) -> Network:
    """Fold every batch norm into the convolution defined just before it (in place, for inference)."""
    for parent in network.modules():
        children = list(parent.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, nn.Identity())
    return network
