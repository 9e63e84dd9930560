"""The registry's networks whose bodies are torchvision's, and the door through which every network is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .torch_networks import NarrowResNet, Network, use_group_norms


class TorchvisionResNet(Network):
    """ResNet-18/34/50 of torchvision (He et al. 2016). stem: 'imagenet' halves the image twice before the first block;
    'small' does not, for images of about 32 pixels, as He et al. have it for CIFAR-10 (section 4.2)."""

    def __init__(self, builder: str, labels: int, channels: int, stem: str = "imagenet") -> None:
        super().__init__()
        import torchvision

        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels)
        if stem == "small":
            self.net.conv1 = nn.Conv2d(channels, self.net.conv1.out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.net.maxpool = nn.Identity()
        else:
            _set_channels(self.net, "conv1", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.fc)

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        return self._pooled(net.layer4(net.layer3(net.layer2(net.layer1(x)))), maps)


class TorchvisionEfficientNet(Network):
    """EfficientNet-B0 of torchvision (Tan & Le 2019)."""

    def __init__(self, builder: str, labels: int, channels: int) -> None:
        super().__init__()
        import torchvision

        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels)
        _set_channels(self.net.features[0], "0", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.classifier[-1])

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        features, class_maps = self._pooled(self.net.features(images), maps)
        return self.net.classifier[:-1](features), class_maps  # dropout, while it is trained


class TorchvisionConvNeXt(Network):
    """ConvNeXt-T of torchvision (Liu et al. 2022)."""

    def __init__(self, builder: str, labels: int, channels: int) -> None:
        super().__init__()
        import torchvision

        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels)
        _set_channels(self.net.features[0], "0", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.classifier[-1])

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        body = self.net.features(images)
        pooled = body.mean((2, 3), keepdim=True)
        return self.net.classifier[:-1](pooled), self._class_maps(body, pooled) if maps else None

    def _class_maps(self, body: Tensor, pooled: Tensor) -> Tensor:
        """Grad-CAM (Selvaraju et al. 2017) of every class as forward products, [N, L, h, w], signed.

        Between the pool and the last layer stands a layer norm, y = scale * z + shift with z = (p - mean) / deviation.
        With g = weight * scale, d logit / d p is (g - mean(g) - z * mean(g * z)) / deviation, means over channels.
        """
        norm, channels = self.net.classifier[0], body.shape[1]
        pooled = pooled.float().flatten(1)  # [N, C]
        centred = pooled - pooled.mean(1, keepdim=True)
        deviation = torch.sqrt((centred * centred).mean(1, keepdim=True) + norm.eps)
        z = centred / deviation
        g = self.head.weight.float() * norm.weight.float()  # [L, C]
        g = g - g.mean(1, keepdim=True)  # z has the mean 0, so that this changes no mean(g * z)
        along = z @ g.T / channels  # [N, L]
        gradient = (g - along[:, :, None] * z[:, None]) / deviation[:, :, None]  # [N, L, C]
        return torch.einsum("nlc,nchw->nlhw", gradient / (body.shape[2] * body.shape[3]), body.float())


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
        return torch.einsum("nlc,nchw->nlhw", mean_gradient, body).float()


class TorchvisionVisionTransformer(Network):
    """ViT-B/16 of torchvision (Dosovitskiy et al. 2021), for square images of one size."""

    def __init__(self, builder: str, labels: int, channels: int, image_size: int = 224) -> None:
        super().__init__()
        import torchvision

        _check_image_size(image_size)
        self.net = torchvision.models.get_model(builder, weights=None, num_classes=labels, image_size=image_size)
        _set_channels(self.net, "conv_proj", channels)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        return cast(nn.Linear, self.net.heads.head)

    def encode(self, images: Tensor, maps: bool = True) -> tuple[Tensor, Tensor | None]:
        """Raises ValueError for images of another size than the network was made for."""
        side = self.net.image_size
        if images.shape[2:] != (side, side):
            height, width = images.shape[2:]
            raise ValueError(f"the network takes images of {side} x {side} pixels, not {height} x {width}")
        patches = self.net.conv_proj(images).flatten(2).transpose(1, 2)  # [N, h * w, D], row by row
        encoder = self.net.encoder
        tokens = torch.cat([self.net.class_token.expand(images.shape[0], -1, -1), patches], 1) + encoder.pos_embedding
        tokens = encoder.layers[:-1](encoder.dropout(tokens))
        normed = encoder.layers[-1].ln_1(tokens)
        heard = self._keys_and_values(normed)
        features = self._class_token(tokens[:, :1], normed[:, :1], heard)
        return features, self._class_maps(tokens[:, :1], normed, heard) if maps else None

    def _keys_and_values(self, normed: Tensor) -> Tensor:
        """Of the last block's attention, [N, 1 + h * w, 2 D], from all tokens after the block's first layer norm."""
        attention = self.net.encoder.layers[-1].self_attention
        width = attention.embed_dim
        return F.linear(normed, attention.in_proj_weight[width:], attention.in_proj_bias[width:])

    def _class_token(self, token: Tensor, normed: Tensor, heard: Tensor) -> Tensor:
        """The class token [N, 1, D], and `normed` after the last block's first layer norm, through that block and the
        final norm: [N, D].

        heard: from _keys_and_values. What the block would make of the patch tokens is read by nobody, so that only
        the class token asks.
        """
        block = self.net.encoder.layers[-1]
        attention, width = block.self_attention, block.self_attention.embed_dim
        asked = F.linear(normed, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
        query, key, value = (
            part.reshape(part.shape[0], part.shape[1], attention.num_heads, -1).transpose(1, 2)
            for part in (asked, *heard.chunk(2, dim=2))
        )
        told = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        token = token + attention.out_proj(told)
        return cast(Tensor, self.net.encoder.ln(token + block.mlp(block.ln_2(token)))[:, 0])

    # compiled code goes backward once only, so that torch.compile leaves this out and compiles what lies around it
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _class_maps(self, token: Tensor, normed: Tensor, heard: Tensor) -> Tensor:
        """Grad-CAM (Selvaraju et al. 2017) of every class on the patch tokens as they come out of the last block's
        first layer norm, [N, L, h, w], signed.

        That is where they reach the class token for the last time, as keys and values; behind the block their gradient
        is zero. Keys and values are linear in them, so that one backward pass per class as far as these gives the mean
        gradient of the tokens.
        """
        with torch.inference_mode(False):  # which records gradients again
            # tensors of inference mode cannot stand in a graph, copies of them can
            token, normed, heard = (tensor.detach().clone() for tensor in (token, normed, heard))
            logits = self.head(self._class_token(token, normed[:, :1], heard.requires_grad_())).sum(0)
            gradients = [torch.autograd.grad(logit, heard, retain_graph=True)[0] for logit in logits]
            mean_gradient = torch.stack([gradient[:, 1:].float().mean(1) for gradient in gradients], 1)  # [N, L, 2 D]
            attention = self.net.encoder.layers[-1].self_attention
            mean_gradient = mean_gradient @ attention.in_proj_weight[attention.embed_dim :].detach().float()
            maps = mean_gradient @ normed[:, 1:].float().transpose(1, 2)
        side = self.net.image_size // self.net.patch_size
        return cast(Tensor, maps.reshape(-1, len(logits), side, side))


def _check_image_size(size: int) -> None:
    if type(size) is not int or not 16 <= size <= 1024 or size % 16:
        raise ValueError(f"image_size {size!r:.20} is not a multiple of 16 from 16 to 1024")


def _set_channels(parent: nn.Module, name: str, channels: int) -> None:
    """Replace an RGB convolution by one for `channels` input channels."""
    old = cast(nn.Conv2d, getattr(parent, name))
    if channels != old.in_channels:
        keep = {k: getattr(old, k) for k in ("kernel_size", "stride", "padding")}
        setattr(parent, name, nn.Conv2d(channels, old.out_channels, **keep, bias=old.bias is not None))


_FAMILY: Mapping[str, Callable[..., Network]] = {
    "alexnet": TorchvisionFullyConnected,
    "vgg11_bn": TorchvisionFullyConnected,
    "vgg16_bn": TorchvisionFullyConnected,
    "resnet18": TorchvisionResNet,
    "resnet34": TorchvisionResNet,
    "resnet50": TorchvisionResNet,
    "efficientnet_b0": TorchvisionEfficientNet,
    "convnext_tiny": TorchvisionConvNeXt,
    "vit_b_16": TorchvisionVisionTransformer,
}


def build(torchvision: str, labels: int, channels: int, options: Mapping[str, Any]) -> Network:
    """Called through networks.build, which checks the arguments and reads the registry."""
    own = {name: value for name, value in options.items() if name != "norm"}
    if torchvision:
        network = _FAMILY[torchvision](torchvision, labels, channels, **own)
    else:
        network = NarrowResNet(labels, channels, **own)
    return use_group_norms(network) if options.get("norm") == "group" else network
