"""The sizes that are foretold of operators' results are those that ONNX's own reference makes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib.engine.onnx_format import GraphError
from MedImgClassifierLib.engine.onnx_operators import INT64, MAX_PLACES, OPERATORS, Value, results

onnx = pytest.importorskip("onnx", reason="the reference is part of the onnx package")
from onnx import helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402


def floats(*shape: int) -> Any:
    return np.random.default_rng(1).uniform(0.1, 1, shape).astype(np.float32)


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


WINDOW = {"pads": [1, 0, 2, 1], "strides": [2, 3], "dilations": [2, 1]}
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Conv", [floats(2, 4, 13, 12), floats(6, 2, 3, 3), floats(6)], {**WINDOW, "group": 2, "kernel_shape": [3, 3]}),
    ("Conv", [floats(2, 4, 13, 12), floats(6, 4, 1, 1)], {}),
    ("MaxPool", [floats(2, 4, 13, 12)], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ("MaxPool", [floats(2, 4, 13, 12)], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", [floats(2, 4, 13, 12)], {"kernel_shape": [3, 3], "strides": [1, 2], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", [floats(2, 4, 5, 6)], {}),
    ("BatchNormalization", [floats(2, 4, 5, 6), floats(4), floats(4), floats(4), floats(4)], {}),
    ("Gemm", [floats(2, 4), floats(3, 4), floats(3)], {"transB": 1}),
    ("Gemm", [floats(4, 2), floats(4, 3)], {"transA": 1}),
    ("MatMul", [floats(3, 4), floats(5, 4, 6)], {}),
    ("MatMul", [floats(2, 1, 3, 4), floats(5, 4, 6)], {}),
    ("Einsum", [floats(2, 3, 4), floats(2, 4, 5, 6)], {"equation": "nlc,nchw->nlhw"}),
    ("ReduceMean", [floats(2, 3, 4), whole(-1, 1)], {"keepdims": 0}),
    ("ReduceMean", [floats(2, 3, 4), whole(1)], {}),
    ("ReduceSum", [floats(2, 3, 4)], {"keepdims": 0}),
    ("ReduceSum", [floats(2, 3, 4)], {"noop_with_empty_axes": 1}),
    ("InstanceNormalization", [floats(2, 3, 4), floats(3), floats(3)], {"epsilon": 1e-5}),
    ("InstanceNormalization", [floats(2, 3, 4, 5), floats(3), floats(3)], {}),
    ("LayerNormalization", [floats(2, 3, 4), floats(4), floats(4)], {"axis": -1}),
    ("Softmax", [floats(2, 3, 4)], {"axis": 1}),
    *((name, [floats(2, 3)], {}) for name in ("Relu", "Erf", "Sigmoid", "Sqrt")),
    ("Identity", [whole(2, 3)], {}),
    ("Cast", [floats(2, 3) > 0.5], {"to": 1}),
    *((name, [floats(2, 1, 3), floats(4, 1)], {}) for name in ("Add", "Sub", "Mul", "Div", "Greater")),
    ("Where", [floats(2, 1) > 1, floats(3), floats(4, 1, 1)], {}),
    ("Reshape", [floats(2, 3, 4), whole(0, -1)], {}),
    ("Reshape", [floats(2, 3, 4), whole(-1, 3, 2, 2)], {"allowzero": 1}),
    ("Reshape", [whole(1, 2, 3, 4), whole(2, 2)], {}),
    ("Flatten", [floats(2, 3, 4)], {}),
    ("Flatten", [floats(2, 3, 4)], {"axis": -1}),
    ("Transpose", [floats(2, 3, 4)], {"perm": [2, 0, 1]}),
    ("Transpose", [floats(2, 3, 4)], {}),
    ("Squeeze", [floats(2, 1, 4, 1), whole(1, -1)], {}),
    ("Unsqueeze", [floats(2, 3), whole(0, -1)], {}),
    ("Unsqueeze", [whole(7), whole(0)], {}),
    ("Concat", [floats(2, 3), floats(2, 5)], {"axis": -1}),
    ("Concat", [whole(2, 3), whole(4)], {"axis": 0}),
    ("Split", [floats(2, 7)], {"axis": 1, "num_outputs": 3}),
    ("Split", [floats(2, 7), whole(1, 4, 2)], {"axis": -1}),
    ("Gather", [floats(2, 5, 3), np.array([[0, 1], [4, 2]])], {"axis": 1}),
    ("Gather", [whole(5, 6, 7), np.array(-1)], {}),
    ("GatherND", [floats(2, 5, 3), np.array([[[0, 1], [1, -5]]])], {}),
    ("GatherND", [floats(2, 5, 3), np.array([[0, 1, 2], [1, 4, 0]])], {"batch_dims": 0}),
    ("Gather", [floats(9, 2), np.arange(100) % 9], {}),
    ("Slice", [floats(2, 9), whole(-8), whole(2**63 - 1), whole(1), whole(2)], {}),
    ("Slice", [floats(9, 2), whole(8), whole(-(2**63)), whole(0), whole(-3)], {}),
    ("Slice", [whole(4, 5, 6), whole(1), whole(3)], {}),
    ("Expand", [floats(2, 1), whole(3, 1, 4)], {}),
    ("Shape", [floats(2, 3, 4)], {}),
    ("Shape", [floats(2, 3, 4)], {"start": -2, "end": -1}),
    ("QuantizeLinear", [floats(2, 3, 4), floats(3), np.zeros(3, np.uint8)], {"axis": 1}),
    ("DequantizeLinear", [np.zeros((2, 3), np.int8), np.float32(0.5)], {}),
]


FIT = "do not fit"
# What each rule refuses; None is an input that is left out.
REFUSED: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("Relu", [None], {}, "input is missing"),
    ("MaxPool", [floats(2, 4, 13)], {"kernel_shape": [3]}, "not two-dimensional"),
    ("MaxPool", [floats(2, 4, 9, 9)], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}, "padding is automatic"),
    ("MaxPool", [floats(2, 4, 9, 9)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1, 0]}, FIT),
    ("MaxPool", [floats(2, 4, 9, 9)], {"kernel_shape": [30, 3]}, "would have the shape"),
    ("AveragePool", [floats(2, 4, 9, 9)], {"kernel_shape": [3, 3], "pads": [0, 3, 0, 0]}, "as large as its kernel"),
    ("Conv", [floats(2, 4, 9, 9), floats(6, 4, 3, 3), floats(5)], {}, FIT),
    ("BatchNormalization", [floats(2, 4, 5, 6), *[floats(4)] * 4], {"training_mode": 1}, "training mode"),
    ("BatchNormalization", [floats(2, 4, 5, 6), *[floats(5)] * 4], {}, FIT),
    ("InstanceNormalization", [floats(2, 3, 4), floats(1), floats(3)], {}, FIT),
    ("InstanceNormalization", [floats(2, 3, 4), floats(3), floats(4)], {}, FIT),
    ("InstanceNormalization", [floats(2, 3), floats(3), floats(3)], {}, FIT),
    ("InstanceNormalization", [floats(2, 3, 4), floats(3)], {}, "input is missing"),
    ("Sqrt", [whole(4)], {}, "element type"),
    ("Gemm", [floats(2, 3, 4), floats(4, 3)], {}, FIT),
    ("Gemm", [floats(2, 4), floats(4, 3), floats(9, 2, 3)], {}, FIT),
    ("MatMul", [floats(3, 4), floats(5, 6)], {}, FIT),
    ("Einsum", [floats(2, 2), floats(2)], {"equation": "aa,b->a"}, FIT),
    ("Einsum", [floats(2, 3), floats(2)], {"equation": "ab,c->aa"}, FIT),
    ("Einsum", [floats(2, 3), floats(2)], {"equation": "...a,b->a"}, FIT),
    ("Einsum", [floats(2, 3), floats(3, 4)], {"equation": "ab,bc"}, "does not state its result"),
    ("Einsum", [floats(2)] * 3, {"equation": "a,b,c->a"}, "3 inputs, not 2"),
    ("LayerNormalization", [floats(2, 1), floats(1 << 10)], {}, FIT),
    ("Transpose", [floats(2, 3)], {"perm": [0, 0]}, FIT),
    ("Squeeze", [floats(2, 3), whole(0)], {}, FIT),
    ("Unsqueeze", [floats(2, 3), whole(*range(9))], {}, "more than 8 dimensions"),
    ("Concat", [floats(2, 3), floats(4, 3)], {"axis": 1}, FIT),
    ("Split", [floats(2, 7)], {"axis": 1, "num_outputs": 8}, "1 results, not 8"),
    ("Split", [floats(2, 7)], {"axis": 3, "num_outputs": 1}, FIT),
    ("Split", [floats(2, 7)], {"axis": 1}, FIT),
    ("Split", [floats(2, 7), whole(3, 3)], {"axis": 1}, FIT),
    ("GatherND", [floats(2, 5, 3), np.zeros((2, 2, 1), np.int64)], {"batch_dims": 1}, "picks by the image"),
    ("GatherND", [floats(2, 5), np.array([[1, 5]])], {}, "outside of 5"),
    ("GatherND", [floats(2, 5), np.array([[-3, 0]])], {}, "outside of 2"),
    ("GatherND", [floats(2, 5), np.zeros((MAX_PLACES, 2), np.int64)], {}, "a place is not a constant"),
    ("Gather", [floats(2, 5), np.array(2)], {}, "outside of 2"),
    ("Gather", [floats(2, 5), whole(0, -6)], {"axis": 1}, "outside of 5"),
    ("GatherND", [floats(2, 5), np.zeros((2, 3), np.int64)], {}, FIT),
    ("Slice", [floats(2, 9), whole(0), whole(0)], {}, "would have the shape [0, 9]"),
    ("Slice", [floats(2, 9), whole(0), whole(1), whole(0), whole(0)], {}, FIT),
    ("Slice", [floats(2, 9), whole(0, 0), whole(1, 2), whole(1, -1)], {}, "stands there twice"),
    ("ReduceSum", [floats(2, 9), whole(1, -1)], {}, "stands there twice"),
    ("Reshape", [floats(1), np.ones(65, np.int64)], {}, "too many numbers"),
    ("Concat", [floats(1)] * 65, {"axis": 0}, "more than 64 inputs"),
    ("Concat", [floats(1), whole(1)], {"axis": 0}, "element type"),
    *((name, [whole(4), whole(0)], {}, "element type") for name in ("Add", "Sub", "Mul", "Div", "Greater")),
    ("Relu", [whole(4)], {}, "element type"),
    ("Relu", [floats(4), floats(4)], {}, "2 inputs, not 1"),
    ("Where", [floats(4), floats(4), floats(4)], {}, "element type"),
    ("DequantizeLinear", [floats(4), np.float32(1)], {}, "element type"),
    ("DequantizeLinear", [np.zeros(4, np.int8), np.float32(1), np.uint8(1)], {}, "zero point is of another type"),
    ("QuantizeLinear", [floats(4), np.float32(1), np.int32(1)], {}, "makes int32"),
    ("QuantizeLinear", [floats(2, 3), np.float32(1)], {"axis": 2}, FIT),
    ("QuantizeLinear", [floats(2, 3), floats(3), np.zeros((1, 3), np.uint8)], {}, FIT),
    ("LayerNormalization", [floats(2, 3), floats(1)], {}, FIT),
    ("Flatten", [floats(2, 3)], {"axis": 3}, FIT),
    ("Reshape", [floats(2, 3), whole(0, 0)], {"allowzero": 1}, "cannot become"),
    ("Reshape", [floats(2, 3), Value((2,), kind=INT64)], {}, "not a constant"),
    *(("Cast", [floats(2)], {"to": kind}, "casts to") for kind in (2, 6, 7, 9, 11)),
    ("Shape", [floats(2)], {"start": "x"}, FIT),
]


def reference(operator: str, inputs: list[Any], attributes: dict[str, Any], count: int) -> list[Any]:
    names = [f"x{k}" for k in range(len(inputs))]
    made = [f"y{k}" for k in range(count)]
    node = helper.make_node(operator, names, made, **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype) for array in inputs]
    given = [helper.make_tensor_value_info(n, k, np.shape(a)) for n, k, a in zip(names, kinds, inputs, strict=True)]
    graph = helper.make_graph([node], "one", given, [helper.make_empty_tensor_value_info(name) for name in made])
    opset = {"Gelu": 20, "QuantizeLinear": 21, "DequantizeLinear": 21}.get(operator, 18)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True))))


def as_read(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value.encode() if isinstance(value, str) else value for name, value in attributes.items()}


def known(array: Any) -> Value:
    if isinstance(array, Value):
        return array
    array = np.asarray(array)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return Value(array.shape, array if kind == INT64 and array.size <= MAX_PLACES else None, kind)


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_result_has_the_size_foretold(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    assert set(attributes) <= OPERATORS[operator][0]
    count = 1 if operator != "Split" else attributes.get("num_outputs", 3)
    foretold = results(operator, [known(array) for array in inputs], as_read(attributes), count)
    for value, array in zip(foretold, reference(operator, inputs, attributes, len(foretold)), strict=True):
        assert value.shape == np.shape(array)
        assert value.kind == helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
        if value.numbers is not None:
            assert value.numbers.tolist() == np.asarray(array).tolist()


@pytest.mark.parametrize(("operator", "inputs", "attributes", "reason"), REFUSED)
def test_what_cannot_run_is_refused(operator: str, inputs: list[Any], attributes: dict[str, Any], reason: str) -> None:
    given = [None if array is None else known(array) for array in inputs]
    with pytest.raises(GraphError, match=re.escape(reason)):
        results(operator, given, as_read(attributes))


def test_every_operator_that_is_allowed_is_measured() -> None:
    assert {operator for operator, _, _ in CASES} | {"Constant"} == OPERATORS.keys()


WORK: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Conv", [floats(1, 4, 5, 6), floats(8, 2, 3, 3)], {"group": 2}, 8 * 3 * 4 * 2 * 9),
    ("MaxPool", [floats(1, 4, 5, 6)], {"kernel_shape": [2, 3]}, 4 * 4 * 4 * 6),
    ("Gemm", [floats(2, 4), floats(3, 4)], {"transB": 1}, 2 * 3 * 4),
    ("MatMul", [floats(5, 3, 4), floats(4, 6)], {}, 5 * 3 * 4 * 6),
    ("Einsum", [floats(2, 3, 4), floats(2, 4, 5, 6)], {"equation": "nlc,nchw->nlhw"}, 2 * 3 * 4 * 5 * 6),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "work"), WORK, ids=lambda x: x if isinstance(x, str) else ""
)
def test_multiplications_are_counted(operator: str, inputs: list[Any], attributes: dict[str, Any], work: int) -> None:
    (made,) = results(operator, [known(array) for array in inputs], as_read(attributes))
    assert made.work == work


@pytest.mark.parametrize("operator", ["Squeeze", "Unsqueeze", "Gather", "ReduceSum", "Slice"])
def test_sizes_of_results_pick_no_axis_and_no_place(operator: str) -> None:
    (sizes,) = results("Shape", [Value((1, 2))], {"end": 1})
    more = [known(whole(2))] if operator == "Slice" else []
    with pytest.raises(GraphError, match="not a constant"):
        results(operator, [Value((1, 2)), sizes, *more], {})


def test_what_is_made_of_sizes_stays_marked_as_that() -> None:
    (sizes,) = results("Shape", [Value((7, 5, 3))], {})
    (cut,) = results("Slice", [sizes, known(whole(1)), known(whole(3))], {})
    (picked,) = results("Gather", [cut, known(np.array(0))], {})
    (wide,) = results("Unsqueeze", [picked, known(whole(0))], {})
    (joined,) = results("Concat", [known(whole(4)), wide], {"axis": 0})
    assert [value.measured for value in (sizes, cut, picked, wide, joined)] == [True] * 5
    assert joined.numbers is not None and joined.numbers.tolist() == [4, 5]
    (made,) = results("Reshape", [Value((20,)), joined], {})
    assert made.shape == (4, 5) and not made.measured
