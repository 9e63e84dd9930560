"""Reading ONNX files: ONNX's own field numbers, and bytes that want to break what reads them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from MedImgClassifierLib.engine import onnx_format, onnx_graph
from MedImgClassifierLib.engine.onnx_format import MESSAGES, GraphError, parse

MODULES = Path(__file__).resolve().parents[3] / "MedImgClassifier"
HEAD = b"\x08\x0a\x42\x02\x10\x12"  # format version 10, operator set 18


def field(number: int, content: bytes) -> bytes:
    """A field with a length, in protobuf's encoding."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def nested(number: int, depth: int, wire: str) -> bytes:
    if wire == "group":
        return bytes([number << 3 | 3]) * depth
    content = b""
    for _ in range(depth):
        content = field(number, content)
    return content


def dims_of_weight(*dims: int) -> bytes:
    return b"".join(b"\x08" + varint(size) for size in dims)


# Title -> a file, and a part of the reason.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"<?xml version='1.0'?><net/>", "does not begin"),
    "a pickle": (lambda: b"\x80\x04\x95" + b"x" * 20, "does not begin"),
    "ONNX Runtime's own format": (lambda: b"\x08\x0a\x42\x02ORTM" + bytes(40), "does not begin"),
    "only a head": (lambda: HEAD, "no graph"),
    "two graphs": (lambda: HEAD + field(7, b"") * 2, "2 graphs"),
    "a graph cut short": (lambda: HEAD + b"\x3a\xff\xff\x03abc", "cut short"),
    "a length beyond 64 bits": (lambda: HEAD + b"\x3a" + b"\xff" * 30, "cut short"),
    "a length of 2**63": (lambda: HEAD + b"\x3a" + varint(1 << 63), "cut short"),
    "groups in groups": (lambda: HEAD + nested(2, 100_000, "group"), "damaged"),
    "graphs in graphs": (lambda: HEAD + nested(7, 300, "length"), "parts that are not known"),
    "attributes in attributes, which are never opened": (
        lambda: HEAD + field(7, field(1, field(5, nested(6, 3000, "length")))),
        "it has 0 inputs",
    ),
    "an unknown part of the file": (lambda: HEAD + field(7, b"") + field(99, b"x"), "ModelProto has parts"),
    "an unknown part of the graph": (lambda: HEAD + field(7, field(77, b"x")), "GraphProto has parts"),
    "an unknown part of an operator": (lambda: HEAD + field(7, field(1, field(77, b"x"))), "GraphProto has parts"),
    "an unknown part of a weight": (lambda: HEAD + field(7, field(5, field(77, b"x"))), "TensorProto has parts"),
    "a field of another kind": (lambda: HEAD + b"\x38\x01", "no graph"),
    "data twice": (lambda: HEAD + field(7, field(5, field(9, b"abcd") * 2)), "data twice"),
    "ten million empty operators": (lambda: HEAD + field(7, b"\x0a\x00" * 10_000_000), "more than 100,000 parts"),
    "ten million empty weights": (lambda: HEAD + field(7, b"\x2a\x00" * 10_000_000), "more than 100,000 parts"),
    "ten million notes": (lambda: HEAD + field(7, b"") + b"\x72\x00" * 10_000_000, "more than 100,000 parts"),
    "ten million results of one operator": (
        lambda: HEAD + field(7, field(1, b"\x12\x00" * 10_000_000)),
        "without its weights has more than",
    ),
    "ten million dimensions of one weight": (
        lambda: HEAD + field(7, field(5, b"\x08\x01" * 10_000_000)),
        "more than 100,000 parts",
    ),
    "weights of junk, none of which is much": (
        lambda: HEAD + field(7, field(5, b"\x10\x01" * 99_000) * 30),
        "more than 100,000 parts",
    ),
    "junk of many bytes": (
        lambda: HEAD + field(7, field(5, field(12, bytes(300_000))) * 1_000),
        "without its weights has more than",
    ),
    "a weight without data whose size overflows": (
        lambda: HEAD + field(7, field(5, dims_of_weight(1 << 40, 1 << 40))),
        "it has 0 inputs",
    ),
}


def check(content: bytes) -> None:
    onnx_graph.check(content, channels=1, rows=16, columns=12, labels=3, features=4, class_maps=False, int8=False)


def test_a_size_that_is_stated_twice_is_refused() -> None:
    size = field(1, varint(8) + varint(5) + field(2, b"n"))  # both 5 and 'n', of which one reader may take the other
    tensor = b"\x08\x01" + field(2, size + size + size + size)
    with pytest.raises(GraphError, match="states its batch twice"):
        check(HEAD + field(7, field(11, field(1, b"images") + field(2, field(1, tensor)))))


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_bytes_are_refused_quickly(title: str) -> None:
    make, reason = HOSTILE[title]
    content = make()
    before = time.process_time()
    with pytest.raises(GraphError, match=reason):
        check(content)
    assert time.process_time() - before < 1


def test_a_file_beyond_the_cap_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_format, "MAX_FILE_BYTES", 100)
    with pytest.raises(GraphError, match="101 bytes, more than 100"):
        parse(HEAD + bytes(95))


def test_weights_stay_views_of_the_file() -> None:
    content = HEAD + field(7, field(5, field(8, b"w") + field(9, b"abcd") + b"\x10\x01"))
    (weight,) = parse(content).initializers
    assert weight.raw is not None and weight.raw.obj is content and bytes(weight.raw) == b"abcd"
    assert (weight.message.name, weight.message.data_type) == (b"w", 1)


def small_file() -> bytes:
    onnx = pytest.importorskip("onnx", reason="the graph is built with the onnx package")
    helper = onnx.helper
    kernels = onnx.numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "kernels")
    head = onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "head")
    axes = onnx.numpy_helper.from_array(np.array([2, 3]), "axes")
    nodes = [
        helper.make_node("Conv", ["images", "kernels"], ["body"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["body", "axes"], ["features"], keepdims=0),
        helper.make_node("Gemm", ["features", "head"], ["logits"], transB=1),
    ]
    stated = {"images": ["n", 1, 16, 12], "logits": ["n", 3], "features": ["n", 4]}
    images, *outputs = (helper.make_tensor_value_info(name, 1, shape) for name, shape in stated.items())
    graph = helper.make_graph(nodes, "small", [images], outputs, [kernels, head, axes])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())


def test_damaged_files_raise_nothing_but_a_graph_error() -> None:
    content = small_file()
    check(content)
    drawn = np.random.default_rng(11)
    refused, before = 0, time.perf_counter()
    for round_number in range(2000):
        damaged = bytearray(content)
        for place in drawn.integers(0, len(content), drawn.integers(1, 4)):
            damaged[place] = drawn.integers(256)
        if round_number % 4 == 0:
            del damaged[drawn.integers(1, len(content)) :]
        try:
            check(bytes(damaged))
        except GraphError:
            refused += 1
    assert 1000 < refused < 2000  # some flips only change a weight or a name
    assert time.perf_counter() - before < 5


def test_every_truncation_is_refused() -> None:
    content = small_file()
    for length in range(len(content)):
        with pytest.raises(GraphError):
            check(content[:length])


def test_fields_are_those_of_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX's own description is in its package")
    opaque = {"bytes": {"string", "bytes", "message"}, "int32": {"int32", "enum"}}
    for name, fields in MESSAGES.items():
        theirs: Any = onnx
        for part in name.split("."):
            theirs = getattr(theirs, part)
        described = descriptor_pb2.DescriptorProto()
        theirs.DESCRIPTOR.CopyToProto(described)
        known = {found.name: found for found in described.field}
        for title, (number, kind) in fields.items():
            found, plain = known[title], kind.removeprefix("*")
            their_kind = found.Type.Name(found.type).removeprefix("TYPE_").lower()
            assert found.number == number, (name, title)
            assert (found.label == found.LABEL_REPEATED) == kind.startswith("*"), (name, title)
            assert their_kind in ({"message"} if plain in MESSAGES else opaque.get(plain, {plain})), (name, title)
    # what is read on the way to the weights, without protobuf
    assert onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number == onnx_format._GRAPH
    assert onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number == onnx_format._INITIALIZER


@pytest.mark.parametrize("order", [("onnx", "ours"), ("ours", "onnx")])
def test_the_onnx_package_may_be_loaded_before_or_after(order: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "small.onnx"
    file.write_bytes(small_file())
    steps = {
        "onnx": f"import onnx\nassert len(onnx.load({str(file)!r}).graph.node) == 3",
        "ours": "from MedImgClassifierLib.engine.onnx_format import parse\n"
        f"assert len(parse(open({str(file)!r}, 'rb').read()).graph.node) == 3",
    }
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(steps[step] for step in (*order, order[0]))],
        cwd=MODULES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
