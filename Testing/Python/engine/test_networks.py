"""The registry: every network does what its entry says."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.networks import CHOICES, REGISTRY, build

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torchvision.ops import StochasticDepth  # noqa: E402
from torchvision.ops.misc import SqueezeExcitation  # noqa: E402

from MedImgClassifierLib.engine.torch_networks import Network, fuse_batch_norms  # noqa: E402

SIZE = {"narrow_resnet": 64, "alexnet": 127, "vit_b_16": 64}
CONVOLUTIONAL = [name for name in REGISTRY if REGISTRY[name].evidence != "last_block"]
WITH_BATCH_NORM = [name for name in REGISTRY if "norm" in REGISTRY[name].options]
SMALL_STEM: dict[str, Any] = {"stem": "small"}
WITH_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CONVOLUTIONAL),
    ("resnet18", SMALL_STEM),
    *((name, {"norm": "group"}) for name in ("narrow_resnet", "resnet18", "efficientnet_b0")),
    ("resnet18", {"stem": "small", "norm": "group"}),
]


def network(name: str, options: dict[str, Any] | None = None) -> Network:
    if name == "vit_b_16":
        return vision_transformer()
    torch.manual_seed(1)
    made = build(name, 5, 1, **(options or {})).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return made


def last_maps(made: Network, name: str) -> nn.Module:
    """The module whose result the class maps are of."""
    if name.startswith(("resnet", "narrow")):
        return made.body if name == "narrow_resnet" else made.net.layer4
    return made.net.features


@cache
def vision_transformer() -> Network:
    """One for all tests, for it takes seconds to make: none may change it."""
    torch.manual_seed(1)
    made = build("vit_b_16", 5, 1, image_size=64).eval()
    nn.init.normal_(made.head.weight)  # torchvision starts with zeros
    return made


def images(name: str, count: int = 2) -> torch.Tensor:
    size = SIZE.get(name, 128)
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS)
def test_class_maps_are_grad_cam_by_autograd(name: str, options: dict[str, Any]) -> None:
    made, x = network(name, options), images(name)
    kept: list[torch.Tensor] = []
    handle = last_maps(made, name).register_forward_hook(lambda module, inputs, output: kept.append(output))
    logits = made(x)
    handle.remove()
    with torch.inference_mode():
        features, maps = made.encode(x)
    head = LinearHead(made.head.weight.detach().numpy(), made.head.bias.detach().numpy())
    for label in range(5):
        gradient = torch.autograd.grad(logits[:, label].sum(), kept[0], retain_graph=True)[0]
        terms = (gradient.mean((2, 3), keepdim=True) * kept[0]).double().detach()
        rounding = float(terms.abs().sum(1).max())  # what float32 sums of up to 2048 channels may be off by, in 1e-6
        np.testing.assert_allclose(maps[:, label], terms.sum(1).numpy(), atol=1e-6 * max(1, rounding))
    np.testing.assert_allclose(head.decide(features.numpy()), logits.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"), [(name, own) for name, own in WITH_OPTIONS if REGISTRY[name].evidence == "closed_form"]
)
def test_closed_form_maps_sum_to_the_logit_without_its_bias(name: str, options: dict[str, Any]) -> None:
    made, x = network(name, options), images(name)
    with torch.inference_mode():
        logits = made(x).numpy()
        maps = made.encode(x)[1].numpy()
    np.testing.assert_allclose(maps.sum((2, 3)), logits - made.head.bias.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS)
def test_cells_look_where_the_registry_says(name: str, options: dict[str, Any]) -> None:
    """The centre of a cell's receptive field, measured by the gradient of a network of positive weights.

    Maximum pools are replaced by averages of the same geometry, whose gradient reaches every pixel. Norms, and what
    weighs channels by their means, are left out: they move nothing, and some see the whole image.
    """
    made, cells = network(name, options), REGISTRY[name].cells(options)
    for parameter in made.parameters():
        parameter.data = parameter.data.abs() / parameter[0].numel() + 1e-5
    for module in list(made.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm | SqueezeExcitation):
                setattr(module, key, nn.Identity())
    long = {"convnext_tiny": 3600, "efficientnet_b0": 2000}.get(name, 1200)  # for the middle cell's whole field
    width = 64 if name == "alexnet" else 32
    x = torch.full((1, 1, long, width), 0.5, requires_grad=True)
    kept: list[torch.Tensor] = []
    last_maps(made, name).register_forward_hook(lambda module, inputs, output: kept.append(output))
    made.encode(x, maps=False)
    maps = kept[0]
    cell = maps.shape[2] // 2
    field = torch.autograd.grad(maps[0, :, cell, 0].sum(), x)[0][0, 0]
    touched = torch.nonzero(field.abs().sum(1) > 0).flatten()
    assert int(touched[0]) > 0 and int(touched[-1]) < x.shape[2] - 1
    centre = (int(touched[0]) + int(touched[-1])) / 2
    assert abs(centre - (cells.first_centre[0] + cells.stride[0] * cell)) <= 0.5
    assert abs(maps.shape[2] - long / cells.stride[0]) < 2


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in REGISTRY), *(case for case in WITH_OPTIONS if case[1])]
)
def test_folding_batch_norms_changes_nothing(name: str, options: dict[str, Any]) -> None:
    made, x = network(name, options), images(name)
    with torch.inference_mode():
        before = made(x)
        after = fuse_batch_norms(made)(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert (after - before).abs().max() <= 1e-4


def test_a_vision_transformer_answers_as_torchvision_s_own_forward() -> None:
    made, x = vision_transformer(), images("vit_b_16")
    with torch.inference_mode():
        assert (made(x) - made.net(x)).abs().max() <= 1e-4


def test_class_maps_of_a_vision_transformer_are_grad_cam_by_autograd_through_torchvision_s_own_forward() -> None:
    made, x = vision_transformer(), images("vit_b_16")
    kept: list[torch.Tensor] = []
    handle = made.net.encoder.layers[-1].ln_1.register_forward_hook(lambda module, inputs, out: kept.append(out))
    logits = made.net(x)
    handle.remove()
    with torch.inference_mode():
        features, maps = made.encode(x)
        assert torch.equal(features, made.encode(x, maps=False)[0])
    assert maps.shape == (2, 5, 4, 4) and maps.dtype == torch.float32
    for label in range(5):
        gradient = torch.autograd.grad(logits[:, label].sum(), kept[0], retain_graph=True)[0]
        cam = torch.einsum("nd,npd->np", gradient[:, 1:].mean(1), kept[0][:, 1:]).reshape(2, 4, 4).detach()
        assert cam.abs().max() > 1e-3
        np.testing.assert_allclose(maps[:, label], cam, atol=1e-5)


def test_cells_of_a_vision_transformer_lie_where_the_registry_says() -> None:
    """Attention mixes all places, so that a cell's place is that of the patch its token was made of."""
    made, info = vision_transformer(), REGISTRY["vit_b_16"]
    x = torch.zeros(1, 1, 64, 64, requires_grad=True)
    field = torch.autograd.grad(made.net.conv_proj(x)[0, :, 1, 3].sum(), x)[0][0, 0]
    for cell, touched in zip((1, 3), torch.nonzero(field).T, strict=True):
        centre = (int(touched.min()) + int(touched.max())) / 2
        assert centre == info.first_centre + info.stride * cell


def test_a_cell_of_a_vision_transformer_speaks_for_its_own_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without position embedding patches that look alike have maps alike, so that one that does not stands out."""
    made = vision_transformer()
    nowhere = nn.Parameter(torch.zeros_like(made.net.encoder.pos_embedding))
    monkeypatch.setitem(made.net.encoder._parameters, "pos_embedding", nowhere)
    row, column = 1, 3
    x = torch.zeros(1, 1, 64, 64)
    x[:, :, 16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)] = 1
    with torch.inference_mode():
        maps = made.encode(x)[1][0]
    apart = (maps - maps[:, :1, :1]).abs().amax(0)
    assert apart[row, column] > 1e-3
    apart[row, column] = 0
    assert apart.max() < 1e-5


def test_class_maps_of_a_vision_transformer_are_the_same_in_every_mode_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, x = vision_transformer(), images("vit_b_16")
    monkeypatch.setattr(made.net.encoder, "layers", made.net.encoder.layers[-1:])  # 12 of them take long to compile
    maps = made.encode(x)[1]
    assert not maps.requires_grad
    with torch.no_grad():
        assert torch.allclose(made.encode(x)[1], maps, atol=1e-5)
    for parameter in made.parameters():
        monkeypatch.setattr(parameter, "requires_grad", False)  # as the runtime has them
    compiled = torch.compile(made.encode, dynamic=True, backend="aot_eager")
    with torch.inference_mode():
        assert torch.allclose(compiled(x, True)[1], maps, atol=1e-5)
    assert all(parameter.grad is None for parameter in made.parameters())


def test_a_vision_transformer_says_which_size_it_takes() -> None:
    with pytest.raises(ValueError, match="takes images of 64 x 64 pixels, not 48 x 64"):
        vision_transformer().encode(torch.zeros(1, 1, 48, 64))


@pytest.mark.parametrize("size", [0, -16, 100, 1040, True, 224.0, "224", [224]])
def test_an_image_size_that_cannot_be_is_an_error(size: object) -> None:
    with pytest.raises(ValueError, match="image_size"):
        build("vit_b_16", 2, image_size=size)


def test_names_and_options_outside_the_registry_are_errors() -> None:
    with pytest.raises(KeyError):
        build("os.system", 2)
    with pytest.raises(TypeError):
        build("resnet18", 2, weights="IMAGENET1K_V1")
    for name, option in (("alexnet", "norm"), ("vgg11_bn", "stem"), ("convnext_tiny", "norm"), ("vit_b_16", "norm")):
        with pytest.raises(TypeError, match=f"'{name}' has no option .*{option}"):
            build(name, 2, **{option: CHOICES[option][0]})


@pytest.mark.parametrize("value", ["Group", "", None, True, 1, ["group"], {"group": 1}, "small"])
def test_a_word_that_an_option_has_not_is_an_error(value: object) -> None:
    with pytest.raises(ValueError, match="is none of batch, group"):
        build("resnet18", 2, norm=value)
    if value != "small":
        with pytest.raises(ValueError, match="is none of imagenet, small"):
            build("resnet18", 2, stem=value)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "narrow_resnet"])
def test_the_first_word_of_an_option_is_what_is_built_without_it(name: str) -> None:
    stated = {option: words[0] for option, words in CHOICES.items() if option in REGISTRY[name].options}
    plain, named = network(name), network(name, stated)
    assert [str(module) for module in plain.modules()] == [str(module) for module in named.modules()]
    assert REGISTRY[name].cells(stated) == REGISTRY[name].cells({})


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_group_norms_take_the_place_of_all_batch_norms(name: str) -> None:
    made = build(name, 2, 1, norm="group")
    norms = [module for module in made.modules() if isinstance(module, nn.GroupNorm)]
    assert norms and not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in made.modules())
    assert {norm.num_channels for norm in norms} >= {64} or name in ("narrow_resnet", "efficientnet_b0")
    for norm in norms:
        larger = [n for n in range(norm.num_groups + 1, 33) if norm.num_channels % (2 * n) == 0]
        assert norm.num_channels % norm.num_groups == 0 and norm.num_channels // norm.num_groups >= 2 and not larger
        if norm.num_channels % 64 == 0:
            assert norm.num_groups == 32


def test_with_group_norms_no_image_changes_the_answer_to_another_one_while_it_is_trained() -> None:
    made = network("narrow_resnet", {"norm": "group"}).train()
    x = images("narrow_resnet")
    with torch.no_grad():
        assert torch.allclose(made(x)[:1], made(x[:1]), atol=1e-6)
        assert not torch.allclose(network("narrow_resnet").train()(x)[:1], made(x[:1]), atol=1e-2)


def test_a_width_without_a_divisor_has_one_group() -> None:
    made = build("narrow_resnet", 2, 1, widths=(1, 7, 2, 24), blocks=(1, 1, 1, 1), norm="group")
    groups = {m.num_channels: m.num_groups for m in made.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {1: 1, 7: 1, 2: 1, 24: 12}


def test_the_small_stem_leaves_small_images_their_places() -> None:
    with torch.inference_mode():
        maps = network("resnet18", SMALL_STEM).encode(torch.rand(1, 1, 32, 32))[1]
        assert maps.shape[2:] == (4, 4)
        assert network("resnet18").encode(torch.rand(1, 1, 32, 32))[1].shape[2:] == (1, 1)


def test_dropout_of_efficientnet_is_active_only_while_it_is_trained() -> None:
    made, x = network("efficientnet_b0"), images("efficientnet_b0")
    with torch.no_grad():
        assert torch.allclose(made(x), made.net(x), atol=1e-5)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d | StochasticDepth):
                module.eval()
        made.net.classifier.train()
        assert not torch.allclose(made(x), made(x), atol=1e-5)


def test_convnext_answers_as_torchvision_s_own_forward() -> None:
    made, x = network("convnext_tiny"), images("convnext_tiny")
    with torch.inference_mode():
        assert torch.allclose(made(x), made.net(x), atol=1e-5)
