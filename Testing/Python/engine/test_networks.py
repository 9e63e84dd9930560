"""The registry: every network does what its entry says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from MedImgClassifierLib.engine.evidence import class_maps
from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.networks import REGISTRY, build
from MedImgClassifierLib.engine.torch_networks import Network, fuse_batch_norms

SIZE = {"narrow_resnet": 64, "alexnet": 127}


def network(name: str, labels: int = 5) -> Network:
    torch.manual_seed(1)
    made = build(name, labels, 1).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made


def images(name: str, count: int = 2) -> torch.Tensor:
    size = SIZE.get(name, 128)
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", REGISTRY)
def test_class_maps_are_grad_cam_by_autograd(name: str) -> None:
    made, x = network(name), images(name)
    body = made.net.features if name.startswith(("alex", "vgg")) else None
    kept: list[torch.Tensor] = []
    last = body or (made.body if name == "narrow_resnet" else made.net.layer4)
    handle = last.register_forward_hook(lambda module, inputs, output: kept.append(output))
    logits = made(x)
    handle.remove()
    with torch.inference_mode():
        features, maps = made.encode(x)
    head = LinearHead(made.head.weight.detach().numpy(), made.head.bias.detach().numpy())
    ours = class_maps(REGISTRY[name].evidence, maps.numpy(), head)
    for label in range(5):
        gradient = torch.autograd.grad(logits[:, label].sum(), kept[0], retain_graph=True)[0]
        terms = (gradient.mean((2, 3), keepdim=True) * kept[0]).double().detach()
        rounding = float(terms.abs().sum(1).max())  # what float32 sums of up to 2048 channels may be off by, in 1e-6
        np.testing.assert_allclose(ours[:, label], terms.sum(1).numpy(), atol=1e-6 * max(1, rounding))
    np.testing.assert_allclose(head.decide(features.numpy()), logits.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in REGISTRY if REGISTRY[name].evidence == "closed_form"])
def test_closed_form_maps_sum_to_the_logit_without_its_bias(name: str) -> None:
    made, x = network(name), images(name)
    with torch.inference_mode():
        logits = made(x).numpy()
        maps = made.encode(x)[1].numpy()
    head = LinearHead(made.head.weight.detach().numpy(), made.head.bias.detach().numpy())
    sums = class_maps("closed_form", maps, head).sum((2, 3))
    np.testing.assert_allclose(sums, logits - head.bias, atol=1e-4)


@pytest.mark.parametrize("name", REGISTRY)
def test_cells_look_where_the_registry_says(name: str) -> None:
    """The centre of a cell's receptive field, measured by the gradient of a network of positive weights.

    Maximum pools are replaced by averages of the same geometry, whose gradient reaches every pixel.
    """
    made, info = network(name), REGISTRY[name]
    for parameter in made.parameters():
        parameter.data = parameter.data.abs() + 1e-3
    for module in list(made.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
        for key, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    x = torch.full((1, 1, 1200, 64), 0.5, requires_grad=True)  # long enough for the middle cell's whole field
    maps = _spatial(made, name, x)
    cell = maps.shape[2] // 2
    field = torch.autograd.grad(maps[0, :, cell, 0].sum(), x)[0][0, 0]
    touched = torch.nonzero(field.abs().sum(1) > 0).flatten()
    assert int(touched[0]) > 0 and int(touched[-1]) < x.shape[2] - 1
    centre = (int(touched[0]) + int(touched[-1])) / 2
    assert abs(centre - (info.first_centre + info.stride * cell)) <= 0.5


def _spatial(made: Network, name: str, x: torch.Tensor) -> torch.Tensor:
    if name.startswith(("alex", "vgg")):
        return made.net.features(x)
    maps = made.encode(x)[1]
    assert maps is not None
    return maps


@pytest.mark.parametrize("name", REGISTRY)
def test_folding_batch_norms_changes_nothing(name: str) -> None:
    made, x = network(name), images(name)
    with torch.inference_mode():
        before = made(x)
        after = fuse_batch_norms(made)(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert (after - before).abs().max() <= 1e-4


def test_names_and_options_outside_the_registry_are_errors() -> None:
    with pytest.raises(KeyError):
        build("os.system", 2)
    with pytest.raises(TypeError):
        build("resnet18", 2, weights="IMAGENET1K_V1")
