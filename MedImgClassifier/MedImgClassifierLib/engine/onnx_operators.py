"""The operators a graph may use, and how large each one's result is.

The list holds what PyTorch's exporter writes for the registry's networks and for vision transformers, and their
quantised form. An operator stands here with the rule for its result's shape, so that nothing is allowed whose size is
not known before it runs: broadcasting, Expand, Concat or padding can fill any memory from a file of a few bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_format import GraphError

MAX_ELEMENTS = 1 << 28  # of one result, for a batch of three images: VGG at 1024 x 1024 pixels needs 3 * 2**26
MAX_RANK = 8
MAX_NUMBERS = 64  # that are followed from operator to operator: shapes and axes are shorter
MAX_STEP = 64  # kernels, strides, dilations and paddings: AlexNet has 11, ViT-L/32 has 32

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A result's shape, and its numbers where they are few and whole: those may become shapes."""

    shape: Shape
    numbers: NDArray[np.int64] | None = None


Inputs = Sequence[Value | None]
Attributes = Mapping[str, Any]


def results(operator: str, inputs: Inputs, attributes: Attributes) -> list[Value]:
    """What an operator of OPERATORS makes. Raises GraphError where it cannot run or is too large."""
    try:
        made = OPERATORS[operator][1](list(inputs), attributes)
    except GraphError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise GraphError("its inputs do not fit together") from None
    made = made if isinstance(made, list) else [made]
    for value in made:
        _check_size(value.shape)
    return made


def _check_size(shape: Shape) -> None:
    if min(shape, default=1) < 1:
        raise GraphError(f"its result would have the shape {list(shape)[:MAX_RANK]}")
    if len(shape) > MAX_RANK:
        raise GraphError(f"its result would have more than {MAX_RANK} dimensions")
    if math.prod(shape) > MAX_ELEMENTS:
        raise GraphError(f"its result would have more than {MAX_ELEMENTS:,} elements")


def _require(fits: bool, what: str = "its inputs do not fit together") -> None:
    if not fits:
        raise GraphError(what)


def _numbers(value: Any) -> list[int]:
    """Of a shape, axes or the like: they must follow from the file, never from the image."""
    _require(value.numbers is not None, "a shape or an axis is not a constant")
    return [int(number) for number in value.numbers.ravel()]


def _known(inputs: Inputs) -> list[NDArray[np.int64]]:
    """The numbers of all inputs, or nothing."""
    known = [value.numbers for value in inputs if value is not None and value.numbers is not None]
    return known if len(known) == len(inputs) else []


def _same(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    return Value(_shape(inputs[0]))


def _shape(value: Value | None) -> Shape:
    if value is None:
        raise GraphError("an input is missing")
    return value.shape


def _identity(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    (value,) = inputs
    return _laid_out(value, _shape(value))


def _cast(inputs: Inputs, attributes: Attributes) -> Value:
    _require(attributes["to"] in (1, 6, 7, 9), "it casts to a type other than float32, int32, int64 and bool")
    return Value(_shape(inputs[0]))


def _broadcast(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    return Value(np.broadcast_shapes(*map(_shape, inputs)))


def _whole(compute: Callable[..., Any]) -> Callable[[Inputs, Attributes], Value]:
    """An elementwise operator that may also compute shapes."""

    def rule(inputs: Inputs, attributes: Attributes) -> Value:
        shape, known = _broadcast(inputs, attributes).shape, _known(inputs)
        return Value(shape, compute(*known) if known and math.prod(shape) <= MAX_NUMBERS else None)

    return rule


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
    image, weight = _shape(inputs[0]), _shape(inputs[1])
    group = attributes.get("group", 1)
    _require(len(weight) == 4 and list(attributes.get("kernel_shape", weight[2:])) == list(weight[2:]))
    _require(1 <= group <= weight[0] and weight[0] % group == 0, "its group is out of range")
    size = _slide(image, weight[2:], attributes)
    _require(image[1] == weight[1] * group, f"it takes {weight[1] * group} channels and is given {image[1]}")
    _require(len(inputs) < 3 or inputs[2] is None or inputs[2].shape == weight[:1])
    return Value((image[0], weight[0], *size))


def _pool(inputs: Inputs, attributes: Attributes) -> Value:
    (image,) = map(_shape, inputs)
    return Value((*image[:2], *_slide(image, attributes["kernel_shape"], attributes)))


def _global_pool(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    (image,) = map(_shape, inputs)
    return Value((*image[:2], *(1 for _ in image[2:])))


def _gemm(inputs: Inputs, attributes: Attributes) -> Value:
    left, right = _shape(inputs[0]), _shape(inputs[1])
    rows, inner = left[::-1] if attributes.get("transA", 0) else left
    other, columns = right[::-1] if attributes.get("transB", 0) else right
    _require(inner == other, f"it takes {other} features and is given {inner}")
    if len(inputs) > 2 and inputs[2] is not None:
        _require(np.broadcast_shapes(inputs[2].shape, (rows, columns)) == (rows, columns))
    return Value((rows, columns))


def _matmul(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    left, right = map(_shape, inputs)
    _require(len(left) >= 2 and len(right) >= 2 and left[-1] == right[-2])
    return Value((*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1]))


def _einsum(inputs: Inputs, attributes: Attributes) -> Value:
    terms, _, output = attributes["equation"].decode().replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, shape in zip(terms.split(","), map(_shape, inputs), strict=True):
        _require(len(set(letters)) == len(letters) == len(shape))
        for letter, size in zip(letters, shape, strict=True):
            _require(sizes.setdefault(letter, size) == size)
    _require(len(set(output)) == len(output))
    # what lies between the inputs and the result is never larger than this
    _require(math.prod(sizes.values()) <= MAX_ELEMENTS, f"it would take more than {MAX_ELEMENTS:,} elements")
    return Value(tuple(sizes[letter] for letter in output))


def _reduce(inputs: Inputs, attributes: Attributes) -> Value:
    shape, axes = _shape(inputs[0]), range(len(_shape(inputs[0])))
    if len(inputs) > 1 and inputs[1] is not None:
        axes = [axes[axis] for axis in _numbers(inputs[1])]  # type: ignore[assignment]
    elif attributes.get("noop_with_empty_axes", 0):
        return Value(shape)
    kept = attributes.get("keepdims", 1)
    return Value(tuple(1 if k in axes else size for k, size in enumerate(shape) if kept or k not in axes))


def _normalise(inputs: Inputs, attributes: Attributes) -> Value:
    """Layer normalisation and softmax: nothing may be broadcast to more than the first input."""
    shape = _shape(inputs[0])
    range(len(shape))[attributes.get("axis", -1)]
    _require(np.broadcast_shapes(*(value.shape for value in inputs if value is not None)) == shape)
    return Value(shape)


def _quantise(inputs: Inputs, attributes: Attributes) -> Value:
    """Scales and zero points: one, or one for each place along an axis."""
    shape = _shape(inputs[0])
    for step in (value.shape for value in inputs[1:] if value is not None):
        _require(step in ((), (1,)) or step == (shape[attributes.get("axis", 1)],))
    return Value(shape)


def _batch_norm(inputs: Inputs, attributes: Attributes) -> Value:
    shape = _shape(inputs[0])
    _require(attributes.get("training_mode", 0) == 0, "it is in training mode")
    _require(len(inputs) == 5 and all(_shape(value) == shape[1:2] for value in inputs[1:]))
    return Value(shape)


def _reshape(inputs: Inputs, attributes: Attributes) -> Value:
    value, sizes = inputs[0], _numbers(inputs[1])
    shape = _shape(value)
    if not attributes.get("allowzero", 0):  # with it a 0 is an empty result, which is refused
        sizes = [shape[k] if size == 0 else size for k, size in enumerate(sizes)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // rest
    _require(
        min(sizes, default=1) > 0 and math.prod(sizes) == math.prod(shape),
        f"{list(shape)} cannot become {_numbers(inputs[1])}",
    )
    return _laid_out(value, tuple(sizes))


def _laid_out(value: Value | None, shape: Shape) -> Value:
    assert value is not None
    return Value(shape, None if value.numbers is None else value.numbers.reshape(shape))


def _flatten(inputs: Inputs, attributes: Attributes) -> Value:
    (shape,) = map(_shape, inputs)
    axis = attributes.get("axis", 1)
    return Value((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _transpose(inputs: Inputs, attributes: Attributes) -> Value:
    (shape,) = map(_shape, inputs)
    order = attributes.get("perm", range(len(shape))[::-1])
    _require(sorted(order) == list(range(len(shape))))
    return Value(tuple(shape[axis] for axis in order))


def _squeeze(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    shape = _shape(inputs[0])
    axes = {range(len(shape))[axis] for axis in _numbers(inputs[1])}
    _require(all(shape[axis] == 1 for axis in axes))
    return _laid_out(inputs[0], tuple(size for k, size in enumerate(shape) if k not in axes))


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    shape, added = list(_shape(inputs[0])), _numbers(inputs[1])
    for axis in sorted(range(len(shape) + len(added))[axis] for axis in added):
        shape.insert(axis, 1)
    return _laid_out(inputs[0], tuple(shape))


def _concat(inputs: Inputs, attributes: Attributes) -> Value:
    shapes = [_shape(value) for value in inputs]
    axis = range(len(shapes[0]))[attributes["axis"]]
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    _require(len(others) == 1 and len({len(shape) for shape in shapes}) == 1)
    shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    known = _known(inputs)
    return Value(shape, np.concatenate(known, axis) if known and math.prod(shape) <= MAX_NUMBERS else None)


def _split(inputs: Inputs, attributes: Attributes) -> list[Value]:
    shape = _shape(inputs[0])
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


def _gather(inputs: Inputs, attributes: Attributes) -> Value:
    value, places = inputs
    shape, axis = _shape(value), range(len(_shape(value)))[attributes.get("axis", 0)]
    made = (*shape[:axis], *_shape(places), *shape[axis + 1 :])
    known = _known(inputs)
    return Value(made, np.asarray(known[0].take(known[1], axis)) if known and math.prod(made) <= MAX_NUMBERS else None)


def _gather_nd(inputs: Inputs, attributes: Attributes) -> Value:
    shape, places = map(_shape, inputs)
    batch = attributes.get("batch_dims", 0)
    _require(0 <= batch < min(len(shape), len(places)) and shape[:batch] == places[:batch])
    _require(1 <= places[-1] <= len(shape) - batch)
    return Value((*places[:-1], *shape[batch + places[-1] :]))


def _slice(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    value, shape = inputs[0], list(_shape(inputs[0]))
    starts, ends = _numbers(inputs[1]), _numbers(inputs[2])
    axes = _numbers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _numbers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    cuts = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # an end before the first place means 'from the last one on' where the step is negative, as in numpy's None
        before = step < 0 and end < -shape[axis]
        cuts[axis] = slice(start, None if before else end, step)
    made = tuple(len(range(size)[cut]) for size, cut in zip(shape, cuts, strict=True))
    return Value(made, None if value is None or value.numbers is None else value.numbers[tuple(cuts)])


def _expand(inputs: Inputs, attributes: Attributes) -> Value:
    del attributes
    return Value(np.broadcast_shapes(_shape(inputs[0]), tuple(_numbers(inputs[1]))))


def _shape_of(inputs: Inputs, attributes: Attributes) -> Value:
    (shape,) = map(_shape, inputs)
    sizes = np.array(shape[attributes.get("start", 0) : attributes.get("end", len(shape))], np.int64)
    return Value(sizes.shape, sizes)


def _constant(inputs: Inputs, attributes: Attributes) -> Value:
    del inputs
    value: Value = attributes["value"]
    return value


# Operator -> the attributes it may have, and the rule for its result, or its results.
OPERATORS: Mapping[str, tuple[frozenset[str], Callable[[Inputs, Attributes], Value | list[Value]]]] = {
    name: (frozenset(attributes.split()), rule)
    for names, attributes, rule in (
        ("Conv", "auto_pad dilations group kernel_shape pads strides", _conv),
        ("MaxPool", "auto_pad ceil_mode dilations kernel_shape pads storage_order strides", _pool),
        ("AveragePool", "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides", _pool),
        ("GlobalAveragePool", "", _global_pool),
        ("BatchNormalization", "epsilon momentum training_mode", _batch_norm),
        ("Gemm", "alpha beta transA transB", _gemm),
        ("MatMul", "", _matmul),
        ("Einsum", "equation", _einsum),
        ("ReduceMean ReduceSum", "keepdims noop_with_empty_axes", _reduce),
        ("LayerNormalization", "axis epsilon stash_type", _normalise),
        ("Softmax", "axis", _normalise),
        ("Relu Erf Sqrt Tanh Sigmoid", "", _same),
        ("Gelu", "approximate", _same),
        ("Identity", "", _identity),
        ("Cast", "to", _cast),
        ("Div Pow Greater Where", "", _broadcast),
        ("Add", "", _whole(np.add)),
        ("Sub", "", _whole(np.subtract)),
        ("Mul", "", _whole(np.multiply)),
        ("Reshape", "allowzero", _reshape),
        ("Flatten", "axis", _flatten),
        ("Transpose", "perm", _transpose),
        ("Squeeze", "", _squeeze),
        ("Unsqueeze", "", _unsqueeze),
        ("Concat", "axis", _concat),
        ("Split", "axis num_outputs", _split),
        ("Gather", "axis", _gather),
        ("GatherND", "batch_dims", _gather_nd),
        ("Slice", "", _slice),
        ("Expand", "", _expand),
        ("Shape", "start end", _shape_of),
        ("Constant", "value", _constant),
        ("QuantizeLinear DequantizeLinear", "axis", _quantise),
    )
    for name in names.split()
}
QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})
