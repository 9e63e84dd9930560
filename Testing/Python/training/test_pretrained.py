"""ImageNet weights come in through torchvision's loader, whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.models import ResNet18_Weights, get_model, resnet18

from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.pretrained import Origin, start_from
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import InputSpec


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


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code == "DATA_WEIGHTS"
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


def test_missing_nameless_and_foreign_files_are_refused(
    content: bytes, hub: Path, server: tuple[Path, str], tmp_path: Path
) -> None:
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
    refused(lambda: start_from(module, "resnet18", str(tmp_path / "resnet18-11111111.pth")))
    refused(lambda: start_from(module, "resnet18", f"{server[1]}/{name_of(content)}"))
    refused(lambda: start_from(build("narrow_resnet", labels=2), "narrow_resnet", "imagenet"))
    assert left_in(hub) == []


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
