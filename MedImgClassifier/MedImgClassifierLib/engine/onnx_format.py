"""The parts of an ONNX file, read with protobuf alone.

Field names and numbers are those of ONNX's public onnx.proto. Two departures keep a hostile file small and flat: the
weights' bytes are never given to protobuf (they stay views of the file), and parts that no bundle may have (functions,
subgraphs, sequences, sparse tensors) are plain bytes here, so that nothing nests and only their presence is seen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_FILE_BYTES = 1 << 30
MAX_STRUCTURE_BYTES = 4 << 20  # all but the weights: 2 MB for ViT-B/16 in int8. Read, it takes up to 100 times as much
MAX_PARTS = 100_000  # nodes, weights, their fields and other entries of file, graph and weights together

# message -> field -> (number, type); '*': repeated. Text is bytes: what is no UTF-8 is refused by comparison, not by
# an exception. Enumerations are int32, so that no value is dropped as unknown.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ModelProto": {
        "ir_version": (1, "int64"),
        "producer_name": (2, "bytes"),
        "producer_version": (3, "bytes"),
        "domain": (4, "bytes"),
        "model_version": (5, "int64"),
        "doc_string": (6, "bytes"),
        "opset_import": (8, "*OperatorSetIdProto"),
        "metadata_props": (14, "*StringStringEntryProto"),
        "training_info": (20, "*bytes"),
        "functions": (25, "*bytes"),
    },
    "GraphProto": {
        "node": (1, "*NodeProto"),
        "name": (2, "bytes"),
        "doc_string": (10, "bytes"),
        "input": (11, "*ValueInfoProto"),
        "output": (12, "*ValueInfoProto"),
        "value_info": (13, "*ValueInfoProto"),
        "quantization_annotation": (14, "*bytes"),
        "sparse_initializer": (15, "*bytes"),
        "metadata_props": (16, "*StringStringEntryProto"),
    },
    "NodeProto": {
        "input": (1, "*bytes"),
        "output": (2, "*bytes"),
        "name": (3, "bytes"),
        "op_type": (4, "bytes"),
        "attribute": (5, "*AttributeProto"),
        "doc_string": (6, "bytes"),
        "domain": (7, "bytes"),
        "overload": (8, "bytes"),
        "metadata_props": (9, "*StringStringEntryProto"),
    },
    "AttributeProto": {
        "name": (1, "bytes"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "t": (5, "TensorProto"),
        "g": (6, "bytes"),
        "floats": (7, "*float"),
        "ints": (8, "*int64"),
        "strings": (9, "*bytes"),
        "tensors": (10, "*bytes"),
        "graphs": (11, "*bytes"),
        "doc_string": (13, "bytes"),
        "tp": (14, "bytes"),
        "type_protos": (15, "*bytes"),
        "type": (20, "int32"),
        "ref_attr_name": (21, "bytes"),
        "sparse_tensor": (22, "bytes"),
        "sparse_tensors": (23, "*bytes"),
    },
    "TensorProto": {
        "dims": (1, "*int64"),
        "data_type": (2, "int32"),
        "segment": (3, "bytes"),
        "float_data": (4, "*float"),
        "int32_data": (5, "*int32"),
        "string_data": (6, "*bytes"),
        "int64_data": (7, "*int64"),
        "name": (8, "bytes"),
        "raw_data": (9, "bytes"),
        "double_data": (10, "*double"),
        "uint64_data": (11, "*uint64"),
        "doc_string": (12, "bytes"),
        "external_data": (13, "*StringStringEntryProto"),
        "data_location": (14, "int32"),
        "metadata_props": (16, "*StringStringEntryProto"),
    },
    "ValueInfoProto": {
        "name": (1, "bytes"),
        "type": (2, "TypeProto"),
        "doc_string": (3, "bytes"),
        "metadata_props": (4, "*StringStringEntryProto"),
    },
    "TypeProto": {
        "tensor_type": (1, "TypeProto.Tensor"),
        "sequence_type": (4, "bytes"),
        "map_type": (5, "bytes"),
        "denotation": (6, "bytes"),
        "opaque_type": (7, "bytes"),
        "sparse_tensor_type": (8, "bytes"),
        "optional_type": (9, "bytes"),
    },
    "TypeProto.Tensor": {"elem_type": (1, "int32"), "shape": (2, "TensorShapeProto")},
    "TensorShapeProto": {"dim": (1, "*TensorShapeProto.Dimension")},
    "TensorShapeProto.Dimension": {"dim_value": (1, "int64"), "dim_param": (2, "bytes"), "denotation": (3, "bytes")},
    "OperatorSetIdProto": {"domain": (1, "bytes"), "version": (2, "int64")},
    "StringStringEntryProto": {"key": (1, "bytes"), "value": (2, "bytes")},
}
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, MESSAGES["TensorProto"]["raw_data"][0]
_BYTES = 2  # the wire type of everything that has a length


class GraphError(ValueError):
    """What is wrong with a graph, in one line."""


@dataclass(frozen=True)
class Tensor:
    """message: a TensorProto without its bytes; raw: those bytes, a view of the file, or None where it has none."""

    message: Any
    raw: memoryview | None


@dataclass(frozen=True)
class OnnxFile:
    """model: a ModelProto without its graph; graph: a GraphProto without initialisers; initializers: in file order."""

    model: Any
    graph: Any
    initializers: list[Tensor]


def parse(content: bytes) -> OnnxFile:
    """Raises GraphError where the bytes are not ONNX's, or more than a graph may have."""
    if not content:
        raise GraphError("the file is empty")
    if len(content) > MAX_FILE_BYTES:
        raise GraphError(f"the file has {len(content):,} bytes, more than {MAX_FILE_BYTES:,}")
    # A runtime guesses the format of what it is given. Every ONNX file begins with its version of the format, and
    # ONNX Runtime reads a file as its own, other format where 'ORTM' stands here.
    if content[0] != 0x08 or content[4:8] == b"ORTM":
        raise GraphError("the file does not begin as an ONNX file does")
    view = memoryview(content)
    spent = _Spent()
    model, graphs = _split(view, _GRAPH, spent)
    if len(graphs) != 1:
        raise GraphError(f"the file holds {len(graphs)} graphs, not one" if graphs else "the file holds no graph")
    graph, initializers = _split(graphs[0], _INITIALIZER, spent)
    split = [_split(tensor, _RAW_DATA, spent) for tensor in initializers]
    if any(len(raw) > 1 for _, raw in split):
        raise GraphError("a weight states its data twice")
    tensors = [Tensor(_message("TensorProto", rest), raw[0] if raw else None) for rest, raw in split]
    return OnnxFile(_message("ModelProto", model), _message("GraphProto", graph), tensors)


@dataclass
class _Spent:
    """Of MAX_PARTS and MAX_STRUCTURE_BYTES, by all messages of a file together."""

    parts: int = 0
    kept: int = 0


def _split(message: memoryview, number: int, spent: _Spent) -> tuple[bytes, list[memoryview]]:
    """A message without one field, and the contents of that field."""
    taken, kept, begin = [], [], 0
    for found, wire_type, start, value, end in _fields(message):
        is_taken = found == number and wire_type == _BYTES
        spent.parts += 1
        spent.kept += 0 if is_taken else end - start
        if spent.parts > MAX_PARTS:
            raise GraphError(f"the graph has more than {MAX_PARTS:,} parts")
        if spent.kept > MAX_STRUCTURE_BYTES:
            raise GraphError(f"the graph without its weights has more than {MAX_STRUCTURE_BYTES:,} bytes")
        if is_taken:
            taken.append(message[value:end])
            kept.append(message[begin:start])
            begin = end
    kept.append(message[begin:])
    return b"".join(kept), taken


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """(field number, wire type, start of the field, start and end of its value) of protobuf's encoding."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        wire_type = key & 7
        value = at
        if wire_type == 0:
            _, at = _varint(message, at)
        elif wire_type in (1, 5):
            at += 8 if wire_type == 1 else 4
        elif wire_type == _BYTES:
            length, value = _varint(message, at)
            at = value + length
        else:
            raise GraphError("the file is damaged, or not ONNX")
        if at > len(message):
            raise GraphError("the file is cut short or damaged")
        yield key >> 3, wire_type, start, value, at


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for position, byte in enumerate(message[at : at + 10]):
        number |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return number, at + position + 1
    raise GraphError("the file is cut short or damaged")


def _message(name: str, content: bytes) -> Any:
    """Parsed, without any field that MESSAGES does not know: what is not seen here cannot be checked."""
    from google.protobuf.message import DecodeError

    message = _classes()[name]()
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise GraphError("the file is damaged, or not ONNX") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        raise GraphError(f"its {name} has parts that are not known here")
    return message


@functools.cache
def _classes() -> dict[str, Any]:
    """Message classes in a pool of their own: the `onnx` package registers the same names in protobuf's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="onnx_graph.proto", package="onnx", syntax="proto2")
    for name, fields in MESSAGES.items():
        parent, _, nested = name.partition(".")
        if nested:
            message = next(m for m in file.message_type if m.name == parent).nested_type.add(name=nested)
        else:
            message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            kind = kind.removeprefix("*")
            if kind in MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".onnx.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = (name for name in MESSAGES if "." not in name)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnx.{name}")) for name in names}
