"""ImageNet weights come in through torchvision's loader, whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import ResNet18_Weights, get_model, resnet18

from medimg_training.body_region.recipe import IDENTITY
from medimg_training.cache import PreparedSet
from medimg_training.export import export
from medimg_training.fit import fit
from medimg_training.pretrained import Origin, start_from, trained_in_fold
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.result import Label


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return resnet18().state_dict()


@pytest.fixture(scope="module")
def content(weights: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of downloads, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which its files are served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def name_of(content: bytes) -> str:
    return f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def refused(call: Callable[[], object], code: str = "DATA_WEIGHTS") -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code == code
    return str(caught.value)


def left_in(hub: Path) -> list[Path]:
    return [path for path in hub.rglob("*") if path.is_file()]


def test_published_weights_come_through_torchvision_s_own_loader(
    weights: dict[str, torch.Tensor],
    content: bytes,
    hub: Path,
    server: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, address = server
    (folder / name_of(content)).write_bytes(content)
    url = f"{address}/{name_of(content)}"
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url)
    module = build("resnet18", labels=4, channels=3)
    head = module.head.weight.clone()
    origin = start_from(module, "resnet18", "imagenet")
    assert origin == Origin("imagenet", "ResNet18_Weights.IMAGENET1K_V1", url, hashlib.sha256(content).hexdigest())
    assert left_in(hub) == [hub / name_of(content)]
    for name, value in module.state_dict().items():
        if not name.startswith("net.fc."):
            assert torch.equal(value, weights[name.removeprefix("net.")])
    assert torch.equal(module.head.weight, head)  # the classifier stays as it was made


@pytest.mark.parametrize("channels", [1, 2])
def test_the_first_convolution_answers_grey_as_it_would_answer_it_in_three_channels(
    weights: dict[str, torch.Tensor], content: bytes, tmp_path: Path, channels: int
) -> None:
    path = tmp_path / name_of(content)
    path.write_bytes(content)
    module = build("resnet18", labels=4, channels=channels)
    assert start_from(module, "resnet18", str(path)).kind == "imagenet"
    grey = torch.rand(1, 1, 32, 32)
    expected = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weights["conv1.weight"])
    found = torch.nn.functional.conv2d(grey.expand(-1, channels, -1, -1), module.state_dict()["net.conv1.weight"])
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("network", ["efficientnet_b0", "convnext_tiny"])
def test_the_body_of_newer_networks_is_filled_whole(network: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = get_model(network)
    buffer = io.BytesIO()
    torch.save(theirs.state_dict(), buffer)
    path = tmp_path / f"{network}-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    path.write_bytes(buffer.getvalue())
    module = build(network, labels=4, channels=1).eval()
    head = module.head.weight.clone()
    assert start_from(module, network, str(path)).sha256 == hashlib.sha256(buffer.getvalue()).hexdigest()
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        body, expected = module.net.features(grey), theirs.eval().features(grey.expand(-1, 3, -1, -1))
        assert torch.allclose(body, expected, atol=1e-4 * float(expected.abs().max()))
        if network == "convnext_tiny":
            assert torch.equal(module.net.classifier[0].weight, theirs.classifier[0].weight)
    assert torch.equal(module.head.weight, head) and tuple(module.head.weight.shape) != (1000, head.shape[1])


@pytest.mark.parametrize(
    ("options", "first"), [({"stem": "small"}, "net.conv1.weight"), ({"norm": "group"}, "net.bn1.num_batches_tracked")]
)
def test_weights_of_another_stem_or_norm_do_not_fit(
    content: bytes, tmp_path: Path, options: dict[str, str], first: str
) -> None:
    path = tmp_path / name_of(content)
    path.write_bytes(content)
    module = build("resnet18", labels=2, channels=1, **options)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    told = refused(lambda: start_from(module, "resnet18", str(path)))
    assert f"do not fit the network 'resnet18' as it is to be built, beginning with '{first}'" in told
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_mirror_s_address_is_recorded(content: bytes, hub: Path, server: tuple[Path, str]) -> None:
    folder, address = server
    (folder / name_of(content)).write_bytes(content)
    origin = start_from(build("resnet18", labels=2), "resnet18", f"{address}/{name_of(content)}")
    assert origin.url == f"{address}/{name_of(content)}"
    assert origin.sha256 == hashlib.sha256(content).hexdigest()


def test_a_download_with_another_hash_is_refused_and_not_kept(
    content: bytes, hub: Path, server: tuple[Path, str]
) -> None:
    folder, address = server
    (folder / "resnet18-00000000.pth").write_bytes(content)
    module = build("resnet18", labels=2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert "SHA-256" in refused(lambda: start_from(module, "resnet18", f"{address}/resnet18-00000000.pth"))
    assert left_in(hub) == []
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_another_file_of_that_name_in_the_download_folder_is_not_trusted(
    weights: dict[str, torch.Tensor], content: bytes, hub: Path
) -> None:
    hub.mkdir(parents=True)
    torch.save({name: value * 2 for name, value in weights.items()}, hub / name_of(content))
    module = build("resnet18", labels=2)
    before = module.state_dict()["net.conv1.weight"].clone()
    address = f"http://127.0.0.1:9/{name_of(content)}"
    assert "SHA-256" in refused(lambda: start_from(module, "resnet18", address))
    assert torch.equal(module.state_dict()["net.conv1.weight"], before)


def test_nameless_and_foreign_files_are_refused(content: bytes, hub: Path, tmp_path: Path) -> None:
    module = build("resnet18", labels=2)
    text = b"no weights at all"
    other = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    listed = io.BytesIO()
    torch.save([1, 2], listed)
    for bad in (text, other.getvalue(), listed.getvalue()):
        (tmp_path / name_of(bad)).write_bytes(bad)
        refused(lambda bad=bad: start_from(module, "resnet18", str(tmp_path / name_of(bad))))
    (tmp_path / "weights.pth").write_bytes(content)
    assert "name does not carry" in refused(lambda: start_from(module, "resnet18", str(tmp_path / "weights.pth")))
    (tmp_path / "resnet18-00000000.pth").write_bytes(content)
    assert "SHA-256" in refused(lambda: start_from(module, "resnet18", str(tmp_path / "resnet18-00000000.pth")))
    refused(lambda: start_from(build("narrow_resnet", labels=2), "narrow_resnet", "imagenet"))
    assert left_in(hub) == []


def test_absent_weights_are_told_apart_from_damaged_ones(
    content: bytes, hub: Path, server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a table of comparisons can say "not run: weights absent" and go on."""
    module = build("resnet18", labels=2)
    absent = "DATA_WEIGHTS_ABSENT"
    refused(lambda: start_from(module, "resnet18", str(tmp_path / "resnet18-11111111.pth")), absent)
    refused(lambda: start_from(module, "resnet18", f"{server[1]}/{name_of(content)}"), absent)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/{name_of(content)}"
        monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", address)
        refused(lambda: start_from(module, "resnet18", "imagenet"), absent)
    assert left_in(hub) == []
    hub.mkdir(parents=True, exist_ok=True)
    (hub / name_of(content)).write_bytes(content[:-1])
    refused(lambda: start_from(module, "resnet18", "imagenet"))


def test_absent_weights_leave_nothing_of_a_training(prepared: PreparedSet, spec: InputSpec, tmp_path: Path) -> None:
    recipe = Recipe.of("sgd", "resnet18", pretrained=str(tmp_path / "resnet18-11111111.pth"))
    rows = fold_rows(prepared, Fold(("g0", "g1")))
    refused(lambda: fit(recipe, prepared, spec, rows.fit, rows.select, tmp_path / "out"), "DATA_WEIGHTS_ABSENT")
    assert not (tmp_path / "out").exists()


class _Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("executed-by-a-weights-file"),))


def test_a_weights_file_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"conv1.weight": _Payload()}, buffer)
    path = tmp_path / name_of(buffer.getvalue())
    path.write_bytes(buffer.getvalue())
    refused(lambda: start_from(build("resnet18", labels=2), "resnet18", str(path)))
    assert not Path("executed-by-a-weights-file").exists()


def test_a_fitted_network_carries_its_origin_through_a_resume(
    content: bytes, prepared: PreparedSet, spec: InputSpec, tmp_path: Path
) -> None:
    path = tmp_path / name_of(content)
    path.write_bytes(content)
    recipe = Recipe.of("sgd", "resnet18", epochs=1, batch=4, pretrained=str(path))
    rows = fold_rows(prepared, Fold(("g0", "g1")))
    first = fit(recipe, prepared, spec, rows.fit, rows.select, tmp_path / "out")
    path.unlink()  # the checkpoint holds the weights: they are not loaded again
    again = fit(recipe, prepared, spec, rows.fit, rows.select, tmp_path / "out")
    assert first.origin == again.origin == Origin("imagenet", path.name, "", hashlib.sha256(content).hexdigest())


def test_the_average_begins_with_the_pretrained_weights(
    weights: dict[str, torch.Tensor], content: bytes, prepared: PreparedSet, spec: InputSpec, tmp_path: Path
) -> None:
    path = tmp_path / name_of(content)
    path.write_bytes(content)
    choices = {"epochs": 1, "batch": 6, "learning_rate": 1e-12, "ema_decay": 0.9}
    recipe = Recipe.of("sgd", "resnet18", pretrained=str(path), **choices)
    rows = fold_rows(prepared, Fold(("g0", "g1")))
    result = fit(recipe, prepared, spec, rows.fit, rows.select, tmp_path / "out")
    assert torch.allclose(result.module.state_dict()["net.layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"])


TWENTY = Fold(tuple(f"g{n}" for n in range(20)))


class TestFromABundle:
    """A bundle's weights as the start of another training."""

    @pytest.fixture
    def made(self, prepared: PreparedSet, spec: InputSpec, recipe: Callable[..., Recipe], tmp_path: Path) -> Path:
        rows = fold_rows(prepared, TWENTY)
        result = fit(recipe(epochs=1), prepared, spec, rows.fit, rows.select, tmp_path / "first")
        labels = [Label(name) for name in prepared.classes]
        identity = IDENTITY | {"id": "bars", "version": "0.3.0"}
        told = {"identity": identity, "units": "arbitrary", "card": "# Bars\n", "evaluation": {}, "data": {}}
        return export(tmp_path / "bars-0.3.0", result, spec, labels, **told)

    def test_it_starts_there_and_records_the_bundle(
        self, made: Path, prepared: PreparedSet, spec: InputSpec, recipe: Callable[..., Recipe], tmp_path: Path
    ) -> None:
        loaded = bundle.load(made)
        chosen = recipe("sgd", epochs=1, learning_rate=1e-12, pretrained=f"bundle:{made}")
        rows = fold_rows(prepared, TWENTY)
        result = fit(chosen, prepared, spec, rows.fit, rows.select, tmp_path / "second")
        assert result.origin == Origin("bundle", "bars", sha256=loaded.manifest_sha256, version="0.3.0")
        assert str(result.origin) == f"bundle bars 0.3.0@{loaded.manifest_sha256}"
        for name, value in result.module.named_parameters():
            assert np.allclose(value.detach().numpy(), loaded.weights[name]), name  # of the last layer, too

    def test_with_other_labels_the_last_layer_is_made_anew(self, made: Path, recipe: Callable[..., Recipe]) -> None:
        loaded = bundle.load(made)
        options = recipe().network_options
        for classes in (("a", "b"), ("high", "middle", "low")):
            module = build("narrow_resnet", labels=len(classes), **options)
            head = module.head.weight.clone()
            start_from(module, "narrow_resnet", f"bundle:{made}", options, classes)
            assert torch.equal(module.head.weight, head)
            first = next(iter(module.body.parameters()))
            assert np.array_equal(first.detach().numpy(), loaded.weights["body.0.0.weight"])

    def test_another_network_options_or_channels_are_refused_and_nothing_is_copied(
        self, made: Path, recipe: Callable[..., Recipe]
    ) -> None:
        options, source = recipe().network_options, f"bundle:{made}"
        wide = {"widths": (8, 8, 8, 16), "blocks": (1, 1, 1, 1)}
        for name, own, channels, reason in (
            ("resnet18", {}, 1, "they are of narrow_resnet"),
            ("narrow_resnet", wide, 1, "they are of narrow_resnet"),
            ("narrow_resnet", options, 3, "they do not fit"),
        ):
            module = build(name, labels=3, channels=channels, **own)
            before = {key: value.clone() for key, value in module.state_dict().items()}
            start = partial(start_from, module, name, source, own, ("a", "b", "c"))
            assert reason in refused(start)
            assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())

    def test_a_damaged_or_missing_bundle_is_refused_as_a_bundle(
        self, made: Path, recipe: Callable[..., Recipe]
    ) -> None:
        options = recipe().network_options
        module = build("narrow_resnet", labels=3, **options)
        (made / "weights.safetensors").write_bytes(b"x" * 100)
        for path, code in ((made, "BUNDLE_CHANGED"), (made / "nowhere", "BUNDLE_NOT_FOUND")):
            refused(lambda path=path: start_from(module, "narrow_resnet", f"bundle:{path}", options), code)


def test_a_shipped_bundle_is_found_by_its_name() -> None:
    module = build("narrow_resnet", labels=2)
    origin = start_from(module, "narrow_resnet", "bundle:body-region", {}, ("a", "b"))
    assert (origin.kind, origin.name) == ("bundle", "body-region")


def test_a_network_of_the_same_fold_is_named_by_fold_and_weights() -> None:
    torch.manual_seed(0)
    module = build("narrow_resnet", labels=2, widths=(8,), blocks=(1,)).to(memory_format=torch.channels_last)
    origin = trained_in_fold(module, "fold 2 of 5")
    assert str(origin) == f"trained in this fold (fold 2 of 5@{origin.sha256})"
    assert trained_in_fold(module.to(memory_format=torch.contiguous_format), "fold 2 of 5") == origin
    with torch.no_grad():
        module.head.bias[0] += 1
    assert trained_in_fold(module, "fold 2 of 5").sha256 != origin.sha256


def test_origins_read_well() -> None:
    assert str(Origin("random")) == "random"
    assert (
        str(Origin("imagenet", "resnet18-f37072fd.pth", "", "f37072fd00"))
        == "ImageNet resnet18-f37072fd.pth@f37072fd00"
    )
