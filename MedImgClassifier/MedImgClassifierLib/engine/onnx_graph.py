"""The check of a bundle's ONNX graph before any runtime sees it.

A runtime is native code that believes its file. It gets only graphs of one input and known outputs, made of standard
operators (onnx_operators.py) in the order they run, with all weights inside, finite and of the size they state, whose
every result has a known and bounded size, also for more than one image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_format import GraphError, Tensor, parse
from .onnx_operators import MAX_NUMBERS, OPERATORS, QUANTISED, Value, results

__all__ = ["GraphError", "check"]

INPUT = "images"
# ONNX 1.14 to 1.17: from 18 on the axes of reductions are inputs; 22 is the newest these rules were written for.
OPSETS = range(18, 23)
IR_VERSIONS = range(8, 11)  # the forms of the file that belong to these
MAX_NODES = 10_000  # ViT-B/16 in int8 has 1,816
MAX_WEIGHTS = 10_000
MAX_ELEMENTS = 1 << 28  # of all weights together: VGG-16 has 2**27
# Three images: were a graph made for a fixed number of them, it would be 1 or 2.
BATCH = 3
FREE_SIZE = 224  # rows or columns to follow the graph with, where the input specification fixes none
# Notes in the file's head that tools leave; ONNX Runtime takes settings from another.
_NOTES = {b"onnx.infer", b"onnx.quant.pre_process"}

_FLOAT, _INT64, _BOOL = 1, 7, 9
# ONNX's number of an element type -> its name, its numpy type, where a TensorProto may hold it besides raw_data
_TYPES = {
    _FLOAT: ("float32", "<f4", "float_data"),
    2: ("uint8", "u1", "int32_data"),
    3: ("int8", "i1", "int32_data"),
    6: ("int32", "<i4", "int32_data"),
    _INT64: ("int64", "<i8", "int64_data"),
    _BOOL: ("bool", "u1", "int32_data"),
}
_TYPES_OF_INT8 = {2, 3, 6}
_REFUSED_TYPES = {8: "text", 10: "float16", 11: "float64", 14: "complex64", 15: "complex128", 16: "bfloat16"}
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_EXTERNAL = 1


def check(
    content: bytes,
    *,
    channels: int,
    rows: int | None,
    columns: int | None,
    labels: int,
    features: int,
    class_maps: bool,
    int8: bool,
) -> None:
    """Raise GraphError unless the file may be given to a runtime and has a bundle's interface.

    channels, rows, columns: of the input `images` float32 [batch, C, H, W]; rows and columns are None where the input
    specification does not fix them. Outputs, float32: `logits` [batch, labels], `features` [batch, features] and, with
    class_maps, `class_maps` [batch, labels, h, w]. int8: the quantised form, the only one that may hold integers of
    8 and 32 bits.
    """
    file = parse(content)
    graph = file.graph
    _check_head(file.model)
    _check_parts(graph, len(file.initializers))
    types = _TYPES.keys() if int8 else _TYPES.keys() - _TYPES_OF_INT8
    _check_types([*graph.input, *graph.output, *graph.value_info], types)
    _check_input(graph.input, [None, channels, rows, columns])
    wanted: dict[str, list[int | None]] = {"logits": [None, labels], "features": [None, features]}
    if class_maps:
        wanted["class_maps"] = [None, labels, None, None]
    _check_outputs(graph.output, wanted)
    values = _weights(file.initializers, types)
    if INPUT.encode() in values:
        raise GraphError(f"the input '{INPUT}' is also a weight")
    values[INPUT.encode()] = Value((BATCH, channels, rows or FREE_SIZE, columns or FREE_SIZE))
    made = _follow(graph.node, values, types)
    for output in graph.output:
        _check_made(output, made, wanted[output.name.decode()])


def _check_head(model: Any) -> None:
    """Versions and the parts of the file beside the graph."""
    if model.ir_version not in IR_VERSIONS:
        raise GraphError(f"version {model.ir_version} of the ONNX format, not {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}")
    if model.functions:
        raise GraphError("it defines functions of its own")
    if model.training_info:
        raise GraphError("it holds training information")
    for used in model.opset_import:
        if used.domain not in (b"", b"ai.onnx"):
            raise GraphError(f"it needs the operators of {_quoted(used.domain)}, and only ONNX's own may be used")
        if used.version not in OPSETS:
            raise GraphError(f"operator set {used.version}, not {OPSETS[0]} to {OPSETS[-1]}")
    if len(model.opset_import) != 1:
        raise GraphError(f"it names {len(model.opset_import)} operator sets, not one")
    for note in model.metadata_props:
        if note.key not in _NOTES:
            raise GraphError(f"its head holds {_quoted(note.key)}, which a runtime might take for a setting")


def _check_parts(graph: Any, weights: int) -> None:
    if graph.sparse_initializer:
        raise GraphError("it holds sparse weights")
    if graph.quantization_annotation:
        raise GraphError("it holds quantisation notes beside the operators")
    if len(graph.node) > MAX_NODES:
        raise GraphError(f"it has {len(graph.node):,} operators, more than {MAX_NODES:,}")
    if weights > MAX_WEIGHTS:
        raise GraphError(f"it has {weights:,} weights, more than {MAX_WEIGHTS:,}")


def _check_types(values: Iterable[Any], types: Iterable[int]) -> None:
    """Inputs, outputs and stated results are tensors of the types allowed."""
    for value in values:
        others = [field.name for field, _ in value.type.ListFields() if field.name not in ("tensor_type", "denotation")]
        if others or not value.type.HasField("tensor_type"):
            raise GraphError(f"{_quoted(value.name)} is not a tensor")
        _check_type(value.name, value.type.tensor_type.elem_type, types)


def _check_type(name: bytes, kind: int, types: Iterable[int]) -> None:
    if kind not in types:
        told = _TYPES[kind][0] if kind in _TYPES else _REFUSED_TYPES.get(kind, f"element type {kind}")
        raise GraphError(f"{_quoted(name)} is {told}, not {' or '.join(_TYPES[x][0] for x in sorted(types))}")


def _check_input(inputs: Sequence[Any], wanted: Sequence[int | None]) -> None:
    """Exactly one: a weight that is listed as an input could be replaced by a caller, and is refused as a second."""
    if len(inputs) != 1:
        raise GraphError(f"it has {len(inputs)} inputs, not one")
    if inputs[0].name != INPUT.encode():
        raise GraphError(f"its input is named {_quoted(inputs[0].name)}, not '{INPUT}'")
    _check_declared(inputs[0], wanted, ("batch", "channels", "rows", "columns"), free=True)


def _check_outputs(outputs: Sequence[Any], wanted: dict[str, list[int | None]]) -> None:
    names = [output.name for output in outputs]
    for name in wanted:
        if name.encode() not in names:
            raise GraphError(f"it has no output '{name}'")
    for output in outputs:
        if names.count(output.name) > 1 or output.name not in [name.encode() for name in wanted]:
            raise GraphError(f"it has an output {_quoted(output.name)} too many")
        name = output.name.decode()
        across = "features" if name == "features" else "labels"
        _check_declared(output, wanted[name], ("batch", across, "rows", "columns"), free=False)


def _check_declared(value: Any, wanted: Sequence[int | None], names: Sequence[str], free: bool) -> None:
    """Type and dimensions as stated. free: what `wanted` leaves open must not be fixed; else only the batch."""
    name, tensor = _quoted(value.name), value.type.tensor_type
    if tensor.elem_type != _FLOAT:
        raise GraphError(f"{name} is {_TYPES[tensor.elem_type][0]}, not float32")
    if not tensor.HasField("shape"):
        raise GraphError(f"{name} has no stated number of dimensions (dynamic rank)")
    if len(tensor.shape.dim) != len(wanted):
        raise GraphError(f"{name} has {len(tensor.shape.dim)} dimensions, not {len(wanted)}")
    for position, (dim, size, what) in enumerate(zip(tensor.shape.dim, wanted, names, strict=False)):
        fixed = dim.HasField("dim_value")
        if fixed and dim.HasField("dim_param"):
            raise GraphError(f"{name} states its {what} twice")
        if size is None and fixed and (free or position == 0):
            raise GraphError(f"{name} has a fixed {what} of {dim.dim_value}, which must be left open")
        if size is not None and (not fixed or dim.dim_value != size):
            found = dim.dim_value if fixed else "an open number of"
            raise GraphError(f"{name} has {found} {what}, and the bundle has {size}")


def _check_made(output: Any, made: dict[bytes, Value], wanted: Sequence[int | None]) -> None:
    """What the operators make is what the output states."""
    name = _quoted(output.name)
    if output.name not in made:
        raise GraphError(f"no operator makes the output {name}")
    shape = made[output.name].shape
    stated = [d.dim_value if d.HasField("dim_value") else None for d in output.type.tensor_type.shape.dim]
    sizes = [BATCH, *(a or b for a, b in zip(wanted[1:], stated[1:], strict=True))]
    if len(shape) != len(sizes) or any(size not in (None, got) for size, got in zip(sizes, shape, strict=True)):
        raise GraphError(f"{name} comes out as {list(shape)} for {BATCH} images, not as it states")


def _weights(tensors: Iterable[Tensor], types: Iterable[int]) -> dict[bytes, Value]:
    values: dict[bytes, Value] = {}
    elements = 0
    for tensor in tensors:
        name = tensor.message.name
        if not name or name in values:
            raise GraphError(f"two weights are named {_quoted(name)}" if name else "a weight has no name")
        values[name] = _weight(name, tensor, types)
        elements += math.prod(values[name].shape)
        if elements > MAX_ELEMENTS:
            raise GraphError(f"its weights have more than {MAX_ELEMENTS:,} elements")
    return values


def _weight(name: bytes, tensor: Tensor, types: Iterable[int]) -> Value:
    """A tensor that is whole and finite."""
    message = tensor.message
    if message.external_data or message.data_location == _EXTERNAL:
        place = next((entry.value for entry in message.external_data if entry.key == b"location"), b"")
        raise GraphError(f"the weight {_quoted(name)} lies outside the file, in {_quoted(place)} (external data)")
    if message.data_location or message.HasField("segment"):
        raise GraphError(f"the weight {_quoted(name)} lies in parts")
    _check_type(name, message.data_type, types)
    shape = tuple(message.dims)
    if min(shape, default=1) < 1:
        raise GraphError(f"the weight {_quoted(name)} has the shape {list(shape)[:8]}")
    array = _array(name, tensor)
    if array.size != math.prod(shape):
        raise GraphError(f"the weight {_quoted(name)} has {array.size:,} values, and its shape is {list(shape)[:8]}")
    if message.data_type == _FLOAT and not _is_finite(array):
        raise GraphError(f"the weight {_quoted(name)} holds values that are not finite")
    if message.data_type == _BOOL and not np.isin(array, (0, 1)).all():
        raise GraphError(f"the weight {_quoted(name)} is bool and holds other values than 0 and 1")
    whole = message.data_type == _INT64 and array.size <= MAX_NUMBERS
    return Value(shape, array.astype(np.int64).reshape(shape) if whole else None)


def _array(name: bytes, tensor: Tensor) -> NDArray[Any]:
    """The values of a tensor in a row; a view of the file where it can be."""
    _, dtype, field = _TYPES[tensor.message.data_type]
    held = [other for other in _DATA if len(getattr(tensor.message, other))]
    if tensor.raw is None:
        if held not in ([], [field]):
            raise GraphError(f"the weight {_quoted(name)} has values of another type than it states")
        return np.array(getattr(tensor.message, field), np.float32 if field == "float_data" else np.int64)
    if held:
        raise GraphError(f"the weight {_quoted(name)} states its data twice")
    if len(tensor.raw) % np.dtype(dtype).itemsize:
        raise GraphError(f"the weight {_quoted(name)} has {len(tensor.raw):,} bytes, which are no whole values")
    return np.frombuffer(tensor.raw, dtype)


def _is_finite(values: NDArray[Any]) -> bool:
    step = 1 << 18  # fits the processor's cache
    return all(np.isfinite(values[at : at + step]).all() for at in range(0, len(values), step))


def _follow(nodes: Iterable[Any], values: dict[bytes, Value], types: Iterable[int]) -> dict[bytes, Value]:
    """Every operator's result, in order. An operator uses only what stands before it, so that there are no circles."""
    values = {**values}
    made: dict[bytes, Value] = {}
    for node in nodes:
        _check_operator(node, types)
        operator = node.op_type.decode()
        where = f"the operator {operator} that makes {_quoted(node.output[0])}"
        for name in node.input:
            if name and name not in values:
                raise GraphError(f"{where} uses {_quoted(name)} before it is made")
        try:
            attributes = _attributes(node, types)
            found = results(operator, [values[name] if name else None for name in node.input], attributes)
        except GraphError as wrong:
            raise GraphError(f"{where}: {wrong}") from None
        if len(found) != len(node.output):
            raise GraphError(f"{where} has {len(node.output)} results, not {len(found)}")
        for output, value in zip(node.output, found, strict=True):
            if output in values:
                raise GraphError(f"{_quoted(output)} is made twice")
            values[output] = made[output] = value
    return made


def _check_operator(node: Any, types: Iterable[int]) -> None:
    operator = node.op_type.decode("utf-8", "replace")
    if node.domain not in (b"", b"ai.onnx"):
        raise GraphError(f"the operator {_quoted(node.op_type)} is one of {_quoted(node.domain)}, not of ONNX's own")
    if operator not in OPERATORS or node.overload:
        raise GraphError(f"the operator {_quoted(node.op_type)} is not one that a bundle may use")
    if operator in QUANTISED and not _TYPES_OF_INT8.issubset(types):
        raise GraphError(f"the operator {operator} belongs to the int8 form, and this is the float32 form")
    if not node.output or not all(node.output):
        raise GraphError(f"an operator {operator} has a result without a name, or none")


def _attributes(node: Any, types: Iterable[int]) -> dict[str, Any]:
    """Attributes by name: whole or finite numbers, text, or the Value of a constant."""
    allowed, _ = OPERATORS[node.op_type.decode()]
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        name = attribute.name.decode("utf-8", "replace")
        if attribute.HasField("g") or attribute.graphs or attribute.type in (5, 10):
            raise GraphError("it holds a graph of its own (control flow)")
        if name not in allowed or name in found:
            raise GraphError(f"its attribute {_quoted(attribute.name)} is not known, or stands there twice")
        fields = [field.name for field, _ in attribute.ListFields() if field.name not in ("name", "type", "doc_string")]
        field = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}.get(attribute.type, "")
        if fields not in ([field], []) or not field:
            raise GraphError(f"its attribute {_quoted(attribute.name)} has not one value of a plain type")
        value = getattr(attribute, field)
        if field == "t":
            raw = memoryview(value.raw_data) if value.HasField("raw_data") else None
            found[name] = _weight(value.name or attribute.name, Tensor(value, raw), types)
        elif field == "f" and not math.isfinite(value):
            raise GraphError(f"its attribute {_quoted(attribute.name)} is not finite")
        else:
            found[name] = list(value) if field.endswith("s") and field != "s" else value
    return found


def _quoted(name: bytes) -> str:
    """A name from the file, short and without anything that is not plain text."""
    text = name.decode("utf-8", "replace")
    return ascii(text if len(text) <= 60 else text[:60] + "...")
