"""The face of a network in torch, `encode` for the runtime and `forward` for training; our own narrow ResNet; and what
is done to the normalisations of any network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Network(nn.Module):
    """A body, and a head that ends in one linear layer."""

    head: nn.Linear

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        """images [N, C, H, W] -> features [N, D] for the last linear layer, and class maps [N, L, h, w], signed and
        float32, or None where not asked for."""
        raise NotImplementedError

    def _pooled(self, body: Tensor, maps: bool) -> tuple[Tensor, Tensor | None]:
        """Features and class maps where the network ends in a global average pool and one linear layer.

        body [N, D, h, w]: d logit / d cell is weight / (h * w) everywhere, so that the maps are one product.
        """
        if not maps:
            return body.mean((2, 3)), None
        weight = self.head.weight.float() / (body.shape[2] * body.shape[3])
        return body.mean((2, 3)), (weight @ body.float().flatten(2)).reshape(-1, len(weight), *body.shape[2:])

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] -> logits [N, L]."""
        return cast(Tensor, self.head(self.encode(images, maps=False)[0]))


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
        return self._pooled(self.body(images), maps)


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


def fuse_batch_norms(network: Network) -> Network:
    """Fold every batch norm into the convolution defined just before it (in place, for inference)."""
    for parent in network.modules():
        children = list(parent.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, nn.Identity())
    return network


def use_group_norms(network: Network) -> Network:
    """Put a group norm (Wu & He 2018) in the place of every batch norm (in place): no image changes the answer to
    another one, whatever the size of the batch.

    Channels go into as many equal groups as there can be, up to 32, of two or more channels each: that is 32 wherever
    ResNets and VGG have them. A group of one channel would take away how strong the channel is.
    """
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(_groups(norm.num_features), norm.num_features, norm.eps))
    return network


def _groups(channels: int) -> int:
    return max(n for n in range(1, 33) if channels % n == 0 and (n == 1 or channels // n >= 2))
