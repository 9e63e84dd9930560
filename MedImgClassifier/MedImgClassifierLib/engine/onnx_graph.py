"""The check of a bundle's ONNX graph before any runtime sees it.

A runtime is native code that believes its file. It gets only graphs of one input and known outputs, made of standard
operators (onnx_operators.py) in the order they run, with all weights inside, finite and of the size they state. Every
result has a known size, with more images the same or in proportion; memory and work for one image are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .onnx_format import GraphError, Tensor, parse
from .onnx_operators import BOOL, FLOAT, INT8, INT32, INT64, MAX_PLACES, MAX_RANK, OPERATORS, QUANTISED, UINT8, Value
from .onnx_operators import results as results_of

__all__ = ["GraphError", "check"]

INPUT = "images"
# ONNX 1.14 to 1.17: from 18 on the axes of reductions are inputs; 22 is the newest these rules were written for.
OPSETS = range(18, 23)
IR_VERSIONS = range(8, 11)  # the forms of the file that belong to these
MAX_NODES = 10_000  # ViT-B/16 in int8 has 1,816
MAX_USES = 40_000  # inputs of all operators together: ViT-B/16 in int8 has 4,700
MAX_WEIGHTS = 10_000
MAX_ELEMENTS = 1 << 28  # of all weights together: VGG-16 has 2**27
# For one image of 1024 x 1024 pixels, ResNet-50 needs 0.05 * 10**9 elements at once, VGG-16 0.13 and ViT-B/16 0.41;
# multiply-adds are 84 * 10**9, 320 * 10**9 and 608 * 10**9, elements made 0.6 * 10**9, 0.7 * 10**9 and 7 * 10**9.
MAX_LIVE = 1 << 30  # elements that are needed at once: 4 GiB
MAX_WORK = 1 << 42  # multiply-adds, and elements read and made
# A graph is followed for one image and for these numbers of them. What is in proportion for all, one far apart, and is
# made without computing with sizes (onnx_operators.py), is so for any.
BATCHES = (3, 1_000_003)
# Notes in the file's head that tools leave; ONNX Runtime takes settings from another.
_NOTES = {b"onnx.infer", b"onnx.quant.pre_process"}

# ONNX's number of an element type -> its name, its numpy type, where a TensorProto may hold it besides raw_data
_TYPES = {
    FLOAT: ("float32", "<f4", "float_data"),
    UINT8: ("uint8", "u1", "int32_data"),
    INT8: ("int8", "i1", "int32_data"),
    INT32: ("int32", "<i4", "int32_data"),
    INT64: ("int64", "<i8", "int64_data"),
    BOOL: ("bool", "u1", "int32_data"),
}
_TYPES_OF_INT8 = {UINT8, INT8, INT32}
_REFUSED_TYPES = {8: "text", 10: "float16", 11: "float64", 14: "complex64", 15: "complex128", 16: "bfloat16"}
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_EXTERNAL = 1


def check(
    content: bytes,
    *,
    channels: int,
    rows: int | None,
    columns: int | None,
    labels: int | None,
    features: int,
    class_maps: bool,
    int8: bool,
) -> None:
    """Raise GraphError unless the file may be given to a runtime and has a bundle's interface.

    channels, rows, columns: of the input `images` float32 [batch, C, H, W]; an ONNX form needs rows and columns that
    the input specification fixes. Outputs, float32: `logits` [batch, labels], `features` [batch, features] and, with
    class_maps, `class_maps` [batch, labels, h, w]; `features` alone where labels is None, for a head that is no layer
    of the network. int8: the quantised form, the only one that may hold integers of
    8 and 32 bits.
    """
    if rows is None or columns is None:
        raise GraphError("the input specification does not fix rows and columns, which an ONNX form needs")
    wanted: dict[str, list[int | None]] = {"features": [None, features]}
    if labels is not None:
        wanted["logits"] = [None, labels]
        if class_maps:
            wanted["class_maps"] = [None, labels, None, None]
    types = _TYPES.keys() if int8 else _TYPES.keys() - _TYPES_OF_INT8
    try:
        _check(content, (channels, rows, columns), wanted, types)
    except GraphError:
        raise
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as wrong:
        raise GraphError(f"the check could not follow it ({type(wrong).__name__})") from wrong


def _check(
    content: bytes, image: tuple[int, int, int], wanted: dict[str, list[int | None]], types: Iterable[int]
) -> None:
    file = parse(content)
    graph = file.graph
    _check_head(file.model)
    _check_parts(graph, len(file.initializers))
    _check_types([*graph.input, *graph.output, *graph.value_info], types)
    _check_input(graph.input, [None, *image])
    _check_outputs(graph.output, wanted)
    weights = _weights(file.initializers, types)
    if INPUT.encode() in weights:
        raise GraphError(f"the input '{INPUT}' is also a weight")
    operators = _operators(graph.node, weights, types)
    one = _follow(operators, weights, Value((1, *image)))
    _check_spent(operators, weights, one)
    for batch in BATCHES:
        values = _follow(operators, weights, Value((batch, *image)))
        _check_proportion(one, values, batch)
        for output in graph.output:
            _check_made(output, values, wanted[output.name.decode()], batch)


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
    uses = sum(len(node.input) for node in graph.node)
    if uses > MAX_USES:
        raise GraphError(f"its operators have {uses:,} inputs, more than {MAX_USES:,}")
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
    _check_declared(inputs[0], wanted, ("batch", "channels", "rows", "columns"))


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
        _check_declared(output, wanted[name], ("batch", across, "rows", "columns"))


def _check_declared(value: Any, wanted: Sequence[int | None], names: Sequence[str]) -> None:
    """Type and dimensions as stated. The batch must not be fixed."""
    name, tensor = _quoted(value.name), value.type.tensor_type
    if tensor.elem_type != FLOAT:
        raise GraphError(f"{name} is {_TYPES[tensor.elem_type][0]}, not float32")
    if not tensor.HasField("shape"):
        raise GraphError(f"{name} has no stated number of dimensions (dynamic rank)")
    if len(tensor.shape.dim) != len(wanted):
        raise GraphError(f"{name} has {len(tensor.shape.dim)} dimensions, not {len(wanted)}")
    for position, (dim, size, what) in enumerate(zip(tensor.shape.dim, wanted, names, strict=False)):
        fixed = dim.HasField("dim_value")
        if fixed and dim.HasField("dim_param"):
            raise GraphError(f"{name} states its {what} twice")
        if position == 0 and fixed:
            raise GraphError(f"{name} has a fixed {what} of {dim.dim_value}, which must be left open")
        if size is not None and (not fixed or dim.dim_value != size):
            found = dim.dim_value if fixed else "an open number of"
            raise GraphError(f"{name} has {found} {what}, and the bundle has {size}")


def _check_made(output: Any, made: Mapping[bytes, Value], wanted: Sequence[int | None], batch: int) -> None:
    """What the operators make is what the output states."""
    name = _quoted(output.name)
    if output.name not in made:
        raise GraphError(f"no operator makes the output {name}")
    shape, kind = made[output.name].shape, made[output.name].kind
    if kind != FLOAT:
        raise GraphError(f"{name} comes out as {_TYPES[kind][0]}, not float32")
    stated = [d.dim_value if d.HasField("dim_value") else None for d in output.type.tensor_type.shape.dim]
    sizes = [batch, *(a or b for a, b in zip(wanted[1:], stated[1:], strict=True))]
    if len(shape) != len(sizes) or any(size not in (None, got) for size, got in zip(sizes, shape, strict=True)):
        raise GraphError(f"{name} comes out as {list(shape)} for {batch:,} images, not as it states")


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
    if len(message.dims) > MAX_RANK:
        raise GraphError(f"the weight {_quoted(name)} has more than {MAX_RANK} dimensions")
    shape = tuple(message.dims)
    if min(shape, default=1) < 1:
        raise GraphError(f"the weight {_quoted(name)} has the shape {list(shape)}")
    array = _array(name, tensor)
    if array.size != math.prod(shape):
        raise GraphError(f"the weight {_quoted(name)} has {array.size:,} values, and its shape is {list(shape)}")
    if message.data_type == FLOAT and not _is_finite(array):
        raise GraphError(f"the weight {_quoted(name)} holds values that are not finite")
    if message.data_type == BOOL and not np.isin(array, (0, 1)).all():
        raise GraphError(f"the weight {_quoted(name)} is bool and holds other values than 0 and 1")
    whole = message.data_type == INT64 and array.size <= MAX_PLACES
    return Value(shape, array.astype(np.int64).reshape(shape) if whole else None, message.data_type)


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


class _Operator(NamedTuple):
    name: str
    inputs: list[bytes]
    outputs: list[bytes]
    attributes: dict[str, Any]
    where: str


def _operators(nodes: Iterable[Any], weights: Iterable[bytes], types: Iterable[int]) -> list[_Operator]:
    """In order. An operator uses only what stands before it, so that there are no circles."""
    there = {INPUT.encode(), *weights}
    found = []
    for node in nodes:
        _check_operator(node, types)
        operator = node.op_type.decode()
        where = f"the operator {operator} that makes {_quoted(node.output[0])}"
        for name in node.input:
            if name and name not in there:
                raise GraphError(f"{where} uses {_quoted(name)} before it is made")
        for name in node.output:
            if name in there:
                raise GraphError(f"{_quoted(name)} is made twice")
            there.add(name)
        try:
            attributes = _attributes(node, types)
        except GraphError as wrong:
            raise GraphError(f"{where}: {wrong}") from None
        found.append(_Operator(operator, list(node.input), list(node.output), attributes, where))
    return found


def _follow(operators: Iterable[_Operator], weights: Mapping[bytes, Value], images: Value) -> dict[bytes, Value]:
    """Every operator's results."""
    values = {**weights, INPUT.encode(): images}
    made: dict[bytes, Value] = {}
    for operator in operators:
        inputs = [values[name] if name else None for name in operator.inputs]
        try:
            found = results_of(operator.name, inputs, operator.attributes, len(operator.outputs))
        except GraphError as wrong:
            raise GraphError(f"{operator.where}: {wrong}") from None
        results = dict(zip(operator.outputs, found, strict=True))
        values.update(results)
        made.update(results)
    return made


def _check_spent(operators: Sequence[_Operator], weights: Iterable[bytes], made: Mapping[bytes, Value]) -> None:
    """Memory and work. What does not hang on the image is kept: a runtime makes it once, while it loads the graph."""
    sizes = {name: math.prod(value.shape) for name, value in made.items()}
    last = {name: place for place, operator in enumerate(operators) for name in operator.inputs}
    kept = {b"", *weights}
    live = work = 0
    for place, operator in enumerate(operators):
        used, results = {*operator.inputs} & sizes.keys(), operator.outputs
        if kept.issuperset(operator.inputs):
            kept.update(results)
        live += sum(sizes[name] for name in results)
        work += sum(sizes[name] + made[name].work for name in results) + sum(sizes[name] for name in used)
        if live > MAX_LIVE:
            raise GraphError(f"{operator.where}: more than {MAX_LIVE:,} elements are needed at once")
        if work > MAX_WORK:
            raise GraphError(f"{operator.where}: more than {MAX_WORK:,} multiplications and elements for an image")
        live -= sum(sizes[name] for name in used if last[name] == place and name not in kept)
    # a result that nobody uses stays counted


def _check_proportion(one: Mapping[bytes, Value], many: Mapping[bytes, Value], batch: int) -> None:
    """one, many: the results for one image and for `batch` images. The batch stands in one dimension at most."""
    for name, value in one.items():
        pairs = list(zip(value.shape, many[name].shape, strict=True))
        grown = [after for before, after in pairs if after != before]
        sizes_follow = len(grown) < 2 and all(after in (before, before * batch) for before, after in pairs)
        if not sizes_follow or many[name].work > value.work * batch:
            raise GraphError(f"the size or work of {_quoted(name)} does not follow the number of images")


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
    allowed = OPERATORS[node.op_type.decode()][0]
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
