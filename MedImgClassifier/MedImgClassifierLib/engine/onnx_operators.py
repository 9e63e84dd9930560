"""The operators a graph may use, and how large each one's result is.

The list holds what PyTorch's exporter writes for the registry's networks, their quantised form, and a few plain ones of
other exporters. An operator stands here with the rule for its result's shape, so that nothing is allowed whose size is
not known before it runs: broadcasting, Expand, Concat or padding can fill any memory from a file of a few bytes. Whole
numbers are for shapes, axes and places only: nothing computes with them, and the image never becomes one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_format import GraphError

MAX_RANK = 8
MAX_NUMBERS = 64  # of a shape, of axes; inputs and results of an operator
MAX_PLACES = 1 << 14  # of a constant that picks elements: VGG at 1024 x 1024 has 3,528
MAX_STEP = 64  # kernels, strides, dilations and paddings: AlexNet has 11, ViT-L/32 has 32

FLOAT, UINT8, INT8, INT32, INT64, BOOL = 1, 2, 3, 6, 7, 9  # ONNX's numbers of the element types
_KINDS = {"f": {FLOAT}, "i": {INT64}, "b": {BOOL}, "q": {UINT8, INT8, INT32}}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A result: its shape, its element type, and its numbers where they are few and whole: those may become shapes.

    measured: the numbers are sizes of a result, and so may differ with the number of images; they may only become sizes
    again, so that no size grows otherwise than in proportion. work: multiply-adds that make it.
    """

    shape: Shape
    numbers: NDArray[np.int64] | None = None
    kind: int = FLOAT
    measured: bool = False
    work: int = 0


Inputs = Sequence[Any]  # Values, or None for one that is left out; OPERATORS tells which may be
Attributes = Mapping[str, Any]
Rule = Callable[[Inputs, Attributes], "Value | list[Value]"]


def results(operator: str, inputs: Inputs, attributes: Attributes, count: int = 1) -> list[Value]:
    """The `count` results of an operator of OPERATORS. Raises GraphError where it cannot run."""
    _, takes, makes, rule = OPERATORS[operator]
    _require(max(len(inputs), count) <= MAX_NUMBERS, f"it has more than {MAX_NUMBERS} inputs or results")
    _check_kinds(inputs, takes)
    stated = attributes.get("num_outputs", count)  # refused before so many are made
    _require(stated == count, f"it has {count} results, not {stated}")
    try:
        found = rule(list(inputs), attributes)
    except GraphError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise GraphError("its inputs do not fit together") from None
    made = found if isinstance(found, list) else [found]
    _require(len(made) == count, f"it has {count} results, not {len(made)}")
    if makes == "*" and inputs[0] is not None:
        made = [replace(value, kind=inputs[0].kind) for value in made]
    for value in made:
        _check_size(value.shape)
    return made


def _check_kinds(inputs: Inputs, takes: str) -> None:
    """Number and element types of the inputs, as OPERATORS tells them."""
    if takes.endswith("+"):
        takes = takes[0] * len(inputs)
    _require(len(inputs) <= len(takes), f"it has {len(inputs)} inputs, not {len(takes)}")
    for value, wanted in zip_longest(inputs, takes):
        _require(value is not None or wanted.isupper(), "an input is missing")
        if value is not None:
            allowed = _KINDS[wanted.lower()] if wanted != "*" else {inputs[0].kind}
            _require(value.kind in allowed, "an input has an element type that it does not take")


def _check_size(shape: Shape) -> None:
    _require(len(shape) <= MAX_RANK, f"its result would have more than {MAX_RANK} dimensions")
    _require(min(shape, default=1) >= 1, f"its result would have the shape {list(shape)}")


def _require(fits: bool, what: str = "its inputs do not fit together") -> None:
    if not fits:
        raise GraphError(what)


def _sizes(value: Value) -> list[int]:
    """Of a shape: they must follow from the file, never from the image."""
    if value.numbers is None or value.numbers.size > MAX_NUMBERS:
        raise GraphError("a shape or an axis is not a constant, or has too many numbers")
    return [int(number) for number in value.numbers.ravel()]


def _numbers(value: Value) -> list[int]:
    """Of axes and places: constants, which no size of a result decides."""
    _require(not value.measured, "an axis or a place is not a constant")
    return _sizes(value)


def _axes(value: Value, rank: int) -> list[int]:
    """From 0 on, each once."""
    axes = [range(rank)[axis] for axis in _numbers(value)]
    _require(len(set(axes)) == len(axes), "an axis stands there twice")
    return axes


def _known(inputs: Inputs, shape: Shape) -> list[NDArray[np.int64]]:
    """The numbers of all inputs, or nothing where a result of this shape is none of sizes."""
    known = [value.numbers for value in inputs if value.numbers is not None]
    return known if len(known) == len(inputs) and math.prod(shape) <= MAX_NUMBERS else []


def _same(inputs: Inputs, _: Attributes) -> Value:
    return Value(inputs[0].shape)


def _identity(inputs: Inputs, _: Attributes) -> Value:
    return _laid_out(inputs[0], inputs[0].shape)


def _cast(inputs: Inputs, attributes: Attributes) -> Value:
    _require(attributes["to"] == FLOAT, "it casts to a type other than float32")
    return Value(inputs[0].shape)


def _broadcast(inputs: Inputs, _: Attributes) -> Value:
    return Value(np.broadcast_shapes(*(value.shape for value in inputs)))


def _greater(inputs: Inputs, attributes: Attributes) -> Value:
    return replace(_broadcast(inputs, attributes), kind=BOOL)


def _window(size: int, kernel: int, stride: int, dilation: int, pads: int, up: bool = False) -> int:
    free = size + pads - dilation * (kernel - 1) - 1
    return (-(-free // stride) if up else free // stride) + 1


def _slide(shape: Shape, kernel: Sequence[int], attributes: Attributes) -> Shape:
    """Rows and columns after a window has slid over [N, C, H, W]."""
    _require(len(shape) == 4 and len(kernel) == 2, "it is not two-dimensional")
    _require(attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "its padding is automatic")
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    _require(len(strides) == len(dilations) == 2 and len(pads) == 4)
    steps = [*kernel, *strides, *dilations, *(pad + 1 for pad in pads)]
    _require(
        all(1 <= step <= MAX_STEP for step in steps),
        f"a kernel, stride, dilation or padding is out of range (at most {MAX_STEP})",
    )
    up = attributes.get("ceil_mode", 0) != 0
    return tuple(
        _window(shape[2 + k], kernel[k], strides[k], dilations[k], pads[k] + pads[k + 2], up) for k in range(2)
    )


def _conv(inputs: Inputs, attributes: Attributes) -> Value:
    image, weight = inputs[0].shape, inputs[1].shape
    group = attributes.get("group", 1)
    _require(len(weight) == 4 and list(attributes.get("kernel_shape", weight[2:])) == list(weight[2:]))
    _require(1 <= group <= weight[0] and weight[0] % group == 0, "its group is out of range")
    size = _slide(image, weight[2:], attributes)
    _require(image[1] == weight[1] * group, f"it takes {weight[1] * group} channels and is given {image[1]}")
    _require(len(inputs) < 3 or inputs[2] is None or inputs[2].shape == weight[:1])
    made = (image[0], weight[0], *size)
    return Value(made, work=math.prod(made) * math.prod(weight[1:]))


def _pool(inputs: Inputs, attributes: Attributes) -> Value:
    image = inputs[0].shape
    kernel, dilations = attributes["kernel_shape"], attributes.get("dilations", [1, 1])
    made = (*image[:2], *_slide(image, kernel, attributes))
    for pad, size, dilation in zip(attributes.get("pads", [0] * 4), [*kernel] * 2, [*dilations] * 2, strict=True):
        _require(pad <= dilation * (size - 1), "a padding is as large as its kernel")
    return Value(made, work=math.prod(made) * math.prod(kernel))


def _global_pool(inputs: Inputs, _: Attributes) -> Value:
    image = inputs[0].shape
    return Value((*image[:2], *(1 for _ in image[2:])))


def _gemm(inputs: Inputs, attributes: Attributes) -> Value:
    left, right = inputs[0].shape, inputs[1].shape
    rows, inner = left[::-1] if attributes.get("transA", 0) else left
    other, columns = right[::-1] if attributes.get("transB", 0) else right
    _require(inner == other, f"it takes {other} features and is given {inner}")
    if len(inputs) > 2 and inputs[2] is not None:
        _require(np.broadcast_shapes(inputs[2].shape, (rows, columns)) == (rows, columns))
    return Value((rows, columns), work=rows * columns * inner)


def _matmul(inputs: Inputs, _: Attributes) -> Value:
    left, right = (value.shape for value in inputs)
    _require(len(left) >= 2 and len(right) >= 2 and left[-1] == right[-2])
    made = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    return Value(made, work=math.prod(made) * left[-1])


def _einsum(inputs: Inputs, attributes: Attributes) -> Value:
    terms, arrow, output = attributes["equation"].decode().replace(" ", "").partition("->")
    _require(arrow == "->", "its equation does not state its result")
    sizes: dict[str, int] = {}
    for letters, shape in zip(terms.split(","), (value.shape for value in inputs), strict=True):
        _require(len(set(letters)) == len(letters) == len(shape))
        for letter, size in zip(letters, shape, strict=True):
            _require(sizes.setdefault(letter, size) == size)
    _require(len(set(output)) == len(output))
    return Value(tuple(sizes[letter] for letter in output), work=math.prod(sizes.values()))


def _reduce(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    axes = list(range(len(shape)))
    if len(inputs) > 1 and inputs[1] is not None:
        axes = _axes(inputs[1], len(shape))
    elif attributes.get("noop_with_empty_axes", 0):
        return Value(shape)
    kept = attributes.get("keepdims", 1)
    return Value(tuple(1 if k in axes else size for k, size in enumerate(shape) if kept or k not in axes))


def _softmax(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    range(len(shape))[attributes.get("axis", -1)]
    return Value(shape)


def _layer_norm(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    normalised = shape[range(len(shape))[attributes.get("axis", -1)] :]
    _require(all(value is None or value.shape == normalised for value in inputs[1:]))
    return Value(shape)


def _instance_norm(inputs: Inputs, _: Attributes) -> Value:
    shape = inputs[0].shape
    _require(len(shape) >= 3 and all(value.shape == shape[1:2] for value in inputs[1:]))
    return Value(shape)


def _quantise(inputs: Inputs, attributes: Attributes) -> Value:
    """Scales and zero points: one, or one for each place along an axis."""
    image, scale, *zero = (value for value in inputs if value is not None)
    _require("axis" not in attributes or attributes["axis"] in range(-len(image.shape), max(1, len(image.shape))))
    for shape in (scale.shape, *(value.shape for value in zero)):
        _require(shape in ((), (1,)) or shape == scale.shape == (image.shape[attributes.get("axis", 1)],))
    kind = zero[0].kind if zero else UINT8
    if image.kind != FLOAT:
        _require(not zero or kind == image.kind, "its zero point is of another type")
        return Value(image.shape)
    _require(kind != INT32, "it makes int32")
    return Value(image.shape, kind=kind)


def _batch_norm(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    _require(attributes.get("training_mode", 0) == 0, "it is in training mode")
    _require(len(inputs) == 5 and all(value.shape == shape[1:2] for value in inputs[1:]))
    return Value(shape)


def _reshape(inputs: Inputs, attributes: Attributes) -> Value:
    value, places = inputs
    shape, sizes = value.shape, _sizes(places)
    if not attributes.get("allowzero", 0):  # with it a 0 is an empty result, which is refused
        sizes = [shape[k] if size == 0 else size for k, size in enumerate(sizes)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // rest
    _require(
        min(sizes, default=1) > 0 and math.prod(sizes) == math.prod(shape),
        f"{list(shape)} cannot become {_sizes(places)}",
    )
    return _laid_out(value, tuple(sizes))


def _laid_out(value: Value, shape: Shape) -> Value:
    return replace(value, shape=shape, numbers=None if value.numbers is None else value.numbers.reshape(shape), work=0)


def _flatten(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    axis = attributes.get("axis", 1)
    _require(-len(shape) <= axis <= len(shape))
    return Value((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _transpose(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    order = attributes.get("perm", range(len(shape))[::-1])
    _require(sorted(order) == list(range(len(shape))))
    return Value(tuple(shape[axis] for axis in order))


def _squeeze(inputs: Inputs, _: Attributes) -> Value:
    shape = inputs[0].shape
    axes = _axes(inputs[1], len(shape))
    _require(all(shape[axis] == 1 for axis in axes))
    return _laid_out(inputs[0], tuple(size for k, size in enumerate(shape) if k not in axes))


def _unsqueeze(inputs: Inputs, _: Attributes) -> Value:
    shape = list(inputs[0].shape)
    for axis in sorted(_axes(inputs[1], len(shape) + len(_numbers(inputs[1])))):
        shape.insert(axis, 1)
    return _laid_out(inputs[0], tuple(shape))


def _concat(inputs: Inputs, attributes: Attributes) -> Value:
    shapes = [value.shape for value in inputs]
    axis = range(len(shapes[0]))[attributes["axis"]]
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    _require(len(others) == 1 and len({len(shape) for shape in shapes}) == 1)
    shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    known, measured = _known(inputs, shape), any(value.measured for value in inputs)
    return Value(shape, np.concatenate(known, axis) if known else None, measured=measured)


def _split(inputs: Inputs, attributes: Attributes) -> list[Value]:
    shape = inputs[0].shape
    axis = range(len(shape))[attributes.get("axis", 0)]
    if len(inputs) > 1:
        sizes = _numbers(inputs[1])
    else:
        count = attributes["num_outputs"]
        _require(1 <= count <= shape[axis])
        size = -(-shape[axis] // count)
        sizes = [size] * (count - 1) + [shape[axis] - size * (count - 1)]
    _require(sum(sizes) == shape[axis])
    return [Value((*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _places(value: Value) -> NDArray[np.int64]:
    """Of elements: constants, so that all can be seen to be there."""
    if value.numbers is None or value.measured:
        raise GraphError("a place is not a constant")
    return value.numbers


def _require_inside(places: NDArray[np.int64], size: int) -> None:
    _require(bool(-size <= places.min() and places.max() < size), f"it picks a place outside of {size}")


def _gather(inputs: Inputs, attributes: Attributes) -> Value:
    value, places = inputs[0], _places(inputs[1])
    shape, axis = value.shape, range(len(value.shape))[attributes.get("axis", 0)]
    _require_inside(places, shape[axis])
    made = (*shape[:axis], *places.shape, *shape[axis + 1 :])
    known = _known(inputs[:1], made)
    return Value(made, np.asarray(known[0].take(places, axis)) if known else None, measured=value.measured)


def _gather_nd(inputs: Inputs, attributes: Attributes) -> Value:
    shape, places = inputs[0].shape, _places(inputs[1])
    _require(attributes.get("batch_dims", 0) == 0, "it picks by the image")
    depth = places.shape[-1]
    _require(1 <= depth <= len(shape))
    for axis in range(depth):
        _require_inside(places[..., axis], shape[axis])
    return Value((*places.shape[:-1], *shape[depth:]))


def _slice(inputs: Inputs, _: Attributes) -> Value:
    value, shape = inputs[0], list(inputs[0].shape)
    starts, ends = _numbers(inputs[1]), _numbers(inputs[2])
    axes = _numbers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _numbers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    axes = [range(len(shape))[axis] for axis in axes]
    _require(len(set(axes)) == len(axes), "an axis stands there twice")
    cuts = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # an end before the first place means 'from the last one on' where the step is negative, as in numpy's None
        before = step < 0 and end < -shape[axis]
        cuts[axis] = slice(start, None if before else end, step)
    made = tuple(len(range(size)[cut]) for size, cut in zip(shape, cuts, strict=True))
    known = None if value.numbers is None else value.numbers[tuple(cuts)]
    return Value(made, known, measured=value.measured)


def _expand(inputs: Inputs, _: Attributes) -> Value:
    return Value(np.broadcast_shapes(inputs[0].shape, tuple(_sizes(inputs[1]))))


def _shape_of(inputs: Inputs, attributes: Attributes) -> Value:
    shape = inputs[0].shape
    sizes = np.array(shape[attributes.get("start", 0) : attributes.get("end", len(shape))], np.int64)
    return Value(sizes.shape, sizes, INT64, measured=True)


def _constant(_: Inputs, attributes: Attributes) -> Value:
    value: Value = attributes["value"]
    return value


# Operator -> the attributes it may have; the element types of its inputs and of its results; the rule for its results.
# Types: f float32, i int64, b bool, q quantised, * that of the first input; a capital may be left out; + any number.
OPERATORS: Mapping[str, tuple[frozenset[str], str, str, Rule]] = {
    name: (frozenset(attributes.split()), takes, makes, rule)
    for names, attributes, takes, makes, rule in (
        ("Conv", "auto_pad dilations group kernel_shape pads strides", "ffF", "", _conv),
        ("MaxPool", "auto_pad ceil_mode dilations kernel_shape pads storage_order strides", "f", "", _pool),
        ("AveragePool", "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides", "f", "", _pool),
        ("GlobalAveragePool", "", "f", "", _global_pool),
        ("BatchNormalization", "epsilon momentum training_mode", "fffff", "", _batch_norm),
        ("Gemm", "alpha beta transA transB", "ffF", "", _gemm),
        ("MatMul", "", "ff", "", _matmul),
        ("Einsum", "equation", "ff", "", _einsum),
        ("ReduceMean ReduceSum", "keepdims noop_with_empty_axes", "fI", "", _reduce),
        ("InstanceNormalization", "epsilon", "fff", "", _instance_norm),
        ("LayerNormalization", "axis epsilon stash_type", "ffF", "", _layer_norm),
        ("Softmax", "axis", "f", "", _softmax),
        ("Relu Erf Sigmoid Sqrt", "", "f", "", _same),
        ("Identity", "", "*", "*", _identity),
        ("Cast", "to", "*", "", _cast),
        ("Add Sub Mul Div", "", "ff", "", _broadcast),
        ("Where", "", "bff", "", _broadcast),
        ("Greater", "", "ff", "", _greater),
        ("Reshape", "allowzero", "*i", "*", _reshape),
        ("Flatten", "axis", "*", "*", _flatten),
        ("Transpose", "perm", "*", "*", _transpose),
        ("Squeeze", "", "*i", "*", _squeeze),
        ("Unsqueeze", "", "*i", "*", _unsqueeze),
        ("Concat", "axis", "*+", "*", _concat),
        ("Split", "axis num_outputs", "*I", "*", _split),
        ("Gather", "axis", "*i", "*", _gather),
        ("GatherND", "batch_dims", "*i", "*", _gather_nd),
        ("Slice", "", "*iiII", "*", _slice),
        ("Expand", "", "*i", "*", _expand),
        ("Shape", "start end", "*", "", _shape_of),
        ("Constant", "value", "", "", _constant),
        ("QuantizeLinear", "axis", "ffQ", "", _quantise),
        ("DequantizeLinear", "axis", "qfQ", "", _quantise),
    )
    for name in names.split()
}
QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})
