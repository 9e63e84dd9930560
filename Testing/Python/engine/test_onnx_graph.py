"""Which graphs a runtime may be given: one valid form, and everything that must keep a graph from being run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib.engine import onnx_graph
from MedImgClassifierLib.engine.onnx_graph import GraphError

onnx = pytest.importorskip("onnx", reason="graphs are built with the onnx package")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

Change = Callable[[Any], object]
INTERFACE: dict[str, Any] = {
    "channels": 1,
    "rows": 16,
    "columns": 12,
    "labels": 3,
    "features": 4,
    "class_maps": True,
    "int8": False,
}


def small_graph() -> Any:
    """A convolution, features by their mean, a linear layer and class maps as a product."""
    drawn = np.random.default_rng(2)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(drawn.normal(size=shape).astype(np.float32), name)

    def whole(name: str, *numbers: int) -> Any:
        return numpy_helper.from_array(np.array(numbers, np.int64), name)

    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["images", "kernels", "bias"], ["cells"], "conv", **window),
        helper.make_node("Relu", ["cells"], ["body"], "relu"),
        helper.make_node("ReduceMean", ["body", "axes"], ["features"], "mean", keepdims=0),
        helper.make_node("Gemm", ["features", "head", "head_bias"], ["logits"], "gemm", transB=1),
        helper.make_node("Reshape", ["body", "flat"], ["flat_body"], "flatten"),
        helper.make_node("MatMul", ["head", "flat_body"], ["products"], "product"),
        helper.make_node("Reshape", ["products", "square"], ["class_maps"], "unflatten"),
    ]
    weights = [
        *(weight("kernels", 4, 1, 3, 3), weight("bias", 4), weight("head", 3, 4), weight("head_bias", 3)),
        *(whole("axes", 2, 3), whole("flat", -1, 4, 48), whole("square", -1, 3, 8, 6)),
    ]
    stated = {"logits": ["batch", 3], "features": ["batch", 4], "class_maps": ["batch", 3, 8, 6]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in stated.items()]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 16, 12])
    graph = helper.make_graph(nodes, "small", [images], outputs, weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def quantised_graph() -> Any:
    """The small graph whose convolution takes uint8 images and int8 kernels."""
    model = small_graph()
    graph = model.graph
    kernels = next(weight for weight in graph.initializer if weight.name == "kernels")
    kernels.CopyFrom(numpy_helper.from_array(np.ones((4, 1, 3, 3), np.int8), "kernels"))
    graph.initializer.extend(
        [
            helper.make_tensor("step", TensorProto.FLOAT, [], [0.5]),
            helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
            helper.make_tensor("steps", TensorProto.FLOAT, [4], [0.1, 0.2, 0.3, 0.4]),
        ]
    )
    graph.node[0].input[:2] = ["near_images", "near_kernels"]
    ahead = [
        helper.make_node("QuantizeLinear", ["images", "step", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "zero"], ["near_images"]),
        helper.make_node("DequantizeLinear", ["kernels", "steps"], ["near_kernels"], axis=0),
    ]
    nodes = [*ahead, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def refusal(model: Any, **interface: Any) -> str:
    """Why a graph is refused; '' where it is not."""
    try:
        onnx_graph.check(model.SerializeToString(), **(INTERFACE | interface))
    except GraphError as refused:
        assert "\n" not in str(refused) and str(refused).isascii()
        return str(refused)
    return ""


def weight_of(model: Any, name: str = "head") -> Any:
    return next(weight for weight in model.graph.initializer if weight.name == name)


def dimension(value: Any, axis: int) -> Any:
    return value.type.tensor_type.shape.dim[axis]


def replace(model: Any, name: str, array: Any) -> None:
    weight_of(model, name).CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def insert(model: Any, operator: str, inputs: list[str], at: int = 2, **attributes: Any) -> None:
    """An operator whose result 'more' nobody uses."""
    domain = attributes.pop("domain", "")
    model.graph.node.insert(at, helper.make_node(operator, inputs, ["more"], domain=domain, **attributes))


def add_weight(model: Any, name: str, array: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def outside(model: Any) -> None:
    weight = weight_of(model)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/\x1b[2Jpasswd")


def with_subgraph(model: Any) -> None:
    inner = helper.make_graph([], "inner", [], [])
    insert(model, "Relu", ["body"], then_branch=inner)


def swapped(model: Any) -> None:
    nodes = [model.graph.node[k] for k in (1, 0, 2, 3, 4, 5, 6)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def circle(model: Any) -> None:
    model.graph.node[0].input[0] = "body"


def doubling(model: Any) -> None:
    """Thirty operators in a file of a few kilobytes whose result would fill a terabyte."""
    before = "body"
    for step in range(30):
        model.graph.node.append(helper.make_node("Concat", [before, before], [f"doubled{step}"], axis=1))
        before = f"doubled{step}"


def outer_sum(model: Any) -> None:
    add_weight(model, "tall", np.zeros((1, 20_000, 1), np.float32))
    add_weight(model, "wide", np.zeros((1, 1, 60_000), np.float32))
    insert(model, "Add", ["tall", "wide"])


def expanded(model: Any) -> None:
    add_weight(model, "huge", np.array([1 << 20, 1 << 20, 1, 1, 1, 1], np.int64))
    insert(model, "Expand", ["body", "huge"])


def outer_product(model: Any) -> None:
    """The result is small, what lies between is not."""
    add_weight(model, "many", np.zeros((1, 1 << 21), np.float32))
    add_weight(model, "more_still", np.zeros(1 << 22, np.float32))
    insert(model, "Einsum", ["many", "more_still"], equation="ab,c->a")


def numbers_of_the_image(model: Any) -> None:
    insert(model, "Cast", ["body"], to=TensorProto.INT64)


def places_in_the_image(places: Any, operator: str = "GatherND") -> Change:
    def change(model: Any) -> None:
        add_weight(model, "places", np.array(places))
        insert(model, operator, ["body", "places"])

    return change


def batch_size(model: Any) -> None:
    """A one-dimensional 'n', before everything else, that is the number of images."""
    model.graph.node.insert(0, helper.make_node("Shape", ["images"], ["n"], start=0, end=1))


def looked_up(model: Any) -> None:
    """A size that a table gives for the number of images."""
    batch_size(model)
    add_weight(model, "table", np.array([1] * 16 + [1 << 24]))
    model.graph.node.insert(1, helper.make_node("Gather", ["table", "n"], ["sizes"]))
    insert(model, "Expand", ["bias", "sizes"], at=4)


def cut_by_the_batch(model: Any) -> None:
    batch_size(model)
    add_weight(model, "begin", np.array([0]))
    insert(model, "Slice", ["body", "begin", "n", "begin"], at=4)


def computed(operator: str) -> Change:
    def change(model: Any) -> None:
        batch_size(model)
        add_weight(model, "two_to_the_26", np.array([1 << 26]))
        insert(model, operator, ["n", "two_to_the_26"], at=1)

    return change


def divided_by_nothing(model: Any) -> None:
    add_weight(model, "five", np.array([5]))
    add_weight(model, "nothing", np.array([0]))
    insert(model, "Div", ["five", "nothing"])


def all_pairs(model: Any) -> None:
    """As many results as there are pairs of images."""
    batch_size(model)
    model.graph.node.insert(1, helper.make_node("Concat", ["n", "n"], ["pairs"], axis=0))
    add_weight(model, "one", np.ones((1, 1), np.float32))
    insert(model, "Expand", ["one", "pairs"], at=2)


def one_more(model: Any) -> None:
    """One row more than there are images."""
    model.graph.node.insert(3, helper.make_node("Concat", ["features", "head"], ["more"], axis=0))


def first_hundred(model: Any) -> None:
    """Of a hundred images at most."""
    for name, number in (("begin", 0), ("end", 100)):
        add_weight(model, name, np.array([number]))
    insert(model, "Slice", ["body", "begin", "end", "begin"])


def fixed_to_three(model: Any) -> None:
    add_weight(model, "three_images", np.array([3, 4]))
    insert(model, "Reshape", ["features", "three_images"], at=3)


def many_large(model: Any, used: bool = True) -> None:
    """Results of 128 MiB that are all needed in the end; each alone is allowed."""
    add_weight(model, "large", np.array([1 << 25]))
    for number in range(40):
        add_weight(model, f"w{number}", np.array([number], np.float32))
        insert(model, "Expand", [f"w{number}", "large"], at=0)
        model.graph.node[0].output[0] = f"e{number}"
    for number in range(1, 40 if used else 1):
        left = "e0" if number == 1 else f"s{number - 1}"
        model.graph.node.append(helper.make_node("Add", [left, f"e{number}"], [f"s{number}"]))


def much_work(model: Any) -> None:
    """A product of 2**39 multiplications, ten times; no result is large."""
    add_weight(model, "side", np.array([1 << 13, 1 << 13]))
    insert(model, "Expand", ["head_bias", "side"], at=0)
    weight_of(model, "head_bias").dims[:] = [3]
    model.graph.node[0].input[0] = "one"
    add_weight(model, "one", np.ones((1, 1), np.float32))
    for number in range(10):
        model.graph.node.append(helper.make_node("MatMul", ["more", "more"], [f"product{number}"]))


def reading(model: Any) -> None:
    """Means of much, which are small themselves."""
    much_work(model)
    del model.graph.node[-10:]
    add_weight(model, "size", np.array([4, 1 << 13, 1 << 14]))
    insert(model, "Expand", ["one", "size"], at=0)
    model.graph.node[0].output[0] = "big"
    for number in range(9_000):
        model.graph.node.append(helper.make_node("ReduceSum", ["big"], [f"sum{number}"]))


def many_constants(model: Any) -> None:
    """Each is needed for a moment only, but a runtime makes them all while it loads the graph."""
    many_large(model, False)
    for number in range(40):
        place = next(k for k, node in enumerate(model.graph.node) if node.output[0] == f"e{number}")
        model.graph.node.insert(place + 1, helper.make_node("ReduceSum", [f"e{number}"], [f"s{number}"]))


def contracted_pairs(model: Any) -> None:
    """A small result, for which every image is multiplied with every other."""
    insert(model, "Einsum", ["features", "features"], at=3, equation="ab,cd->bd")


def split_in_many(model: Any) -> None:
    model.graph.node.append(helper.make_node("Split", ["body"], ["part"], axis=1, num_outputs=1 << 40))


def split_in_all(model: Any) -> None:
    names = [f"p{number}" for number in range(200_000)]
    model.graph.node.append(helper.make_node("Split", ["body"], names, axis=1, num_outputs=len(names)))


def many_dimensions(size: int, count: int, kind: int = TensorProto.FLOAT) -> Change:
    def change(model: Any) -> None:
        model.graph.initializer.add(name="deep", data_type=kind, dims=[size] * count, raw_data=bytes(8))

    return change


def whole_output(model: Any) -> None:
    add_weight(model, "whole", np.zeros((1, 4), np.int64))
    batch_size(model)
    add_weight(model, "four", np.array([4]))
    model.graph.node.insert(1, helper.make_node("Concat", ["n", "four"], ["rows"], axis=0))
    model.graph.node[4].output[0] = model.graph.node[5].input[0] = "mean"
    model.graph.node.append(helper.make_node("Expand", ["whole", "rows"], ["features"]))


def deep_constant(model: Any) -> None:
    value = TensorProto(name="deep", data_type=TensorProto.INT64, dims=[1] * 65, raw_data=bytes(8))
    model.graph.node.append(helper.make_node("Constant", [], ["more"], value=value))


def too_many(model: Any) -> None:
    for step in range(10_001):
        model.graph.node.add(op_type="Relu", input=["body"], output=[str(step)])


def too_many_inputs(model: Any) -> None:
    for step in range(700):
        model.graph.node.add(op_type="Concat", input=["body"] * 60, output=[str(step)])


def too_many_weights(model: Any) -> None:
    for step in range(10_001):
        model.graph.initializer.add(name=str(step), data_type=1, float_data=[1.0])


def output(model: Any, name: str) -> Any:
    return next(value for value in model.graph.output if value.name == name)


def text_tensor(model: Any) -> None:
    weight_of(model).CopyFrom(helper.make_tensor("head", TensorProto.STRING, [1], [b"x"]))


# Title -> how the small graph is changed, and a part of the reason that tells this refusal from the others.
REFUSED: dict[str, tuple[Change, str]] = {
    "no format version known": (lambda m: setattr(m, "ir_version", 99), "version 99 of the ONNX format"),
    "an old operator set": (lambda m: setattr(m.opset_import[0], "version", 13), "operator set 13"),
    "a newer operator set": (lambda m: setattr(m.opset_import[0], "version", 99), "operator set 99"),
    "a second operator set": (lambda m: m.opset_import.add(domain="com.microsoft", version=1), "'com.microsoft'"),
    "the same operator set twice": (lambda m: m.opset_import.add(version=18), "2 operator sets"),
    "no operator set": (lambda m: m.ClearField("opset_import"), "0 operator sets"),
    "an operator of another maker": (lambda m: setattr(m.graph.node[1], "domain", "evil.ops"), "'evil.ops'"),
    "an operator not listed": (lambda m: insert(m, "NonZero", ["body"]), "'NonZero' is not one"),
    "an overload of an operator": (lambda m: setattr(m.graph.node[1], "overload", "x"), "'Relu' is not one"),
    "a function": (lambda m: m.functions.add(name="f", domain=""), "functions"),
    "training information": (lambda m: m.training_info.add(), "training information"),
    "settings for the runtime": (lambda m: m.metadata_props.add(key="ort_config", value="{}"), "'ort_config'"),
    "control flow": (with_subgraph, "control flow"),
    "a sparse weight": (lambda m: m.graph.sparse_initializer.add(), "sparse"),
    "quantisation notes": (lambda m: m.graph.quantization_annotation.add(), "quantisation notes"),
    "a weight outside the file": (outside, "external data"),
    "an external place in part": (lambda m: weight_of(m).external_data.add(key="offset", value="0"), "external data"),
    "a weight in float64": (lambda m: replace(m, "head", np.zeros((3, 4))), "'head' is float64"),
    "a weight in float16": (lambda m: replace(m, "head", np.zeros((3, 4), np.float16)), "'head' is float16"),
    "a weight of text": (text_tensor, "'head' is text"),
    "a complex weight": (lambda m: replace(m, "head", np.zeros((3, 4), np.complex64)), "complex64"),
    "a weight of no known type": (lambda m: setattr(weight_of(m), "data_type", 77), "element type 77"),
    "an int8 weight in the float32 form": (lambda m: add_weight(m, "q", np.zeros(3, np.int8)), "'q' is int8"),
    "a quantised float32 form": (lambda m: insert(m, "QuantizeLinear", ["body", "bias"]), "belongs to the int8 form"),
    "a weight in segments": (lambda m: weight_of(m).segment.SetInParent(), "lies in parts"),
    "a weight cut short": (lambda m: setattr(weight_of(m), "raw_data", b"\0" * 44), "has 11 values"),
    "a weight of half a value": (lambda m: setattr(weight_of(m), "raw_data", b"\0" * 47), "no whole values"),
    "a weight without values": (lambda m: weight_of(m).ClearField("raw_data"), "has 0 values"),
    "a weight with values twice": (lambda m: weight_of(m).float_data.append(0.0), "states its data twice"),
    "values of another type": (
        lambda m: (weight_of(m).ClearField("raw_data"), weight_of(m).int64_data.append(1)),
        "another type",
    ),
    "a weight of negative size": (lambda m: weight_of(m).dims.__setitem__(0, -3), "shape [-3, 4]"),
    "an empty weight": (lambda m: weight_of(m).dims.__setitem__(0, 0), "shape [0, 4]"),
    "sizes whose product overflows": (
        lambda m: weight_of(m).dims.__setitem__(slice(None), [1 << 40, 1 << 40]),
        "1099511627776",
    ),
    "a weight that is not a number": (lambda m: replace(m, "bias", np.float32([0, np.nan, 0, 0])), "not finite"),
    "an infinite weight": (lambda m: replace(m, "bias", np.float32([0, 0, 0, -np.inf])), "not finite"),
    "an infinite attribute": (
        lambda m: m.graph.node[3].attribute.append(helper.make_attribute("alpha", float("inf"))),
        "'alpha' is not finite",
    ),
    "a bool that is two": (
        lambda m: m.graph.initializer.add(name="b", data_type=9, dims=[1], raw_data=b"\2"),
        "other values than 0 and 1",
    ),
    "two weights of one name": (lambda m: add_weight(m, "head", np.float32([1])), "two weights"),
    "too many weights": (too_many_weights, "10,008 weights"),
    "too many operators": (too_many, "10,008 operators"),
    "too many inputs of operators": (too_many_inputs, "42,015 inputs, more than 40,000"),
    "two inputs": (lambda m: m.graph.input.append(m.graph.input[0]), "2 inputs"),
    "a weight listed as an input": (
        lambda m: m.graph.input.append(helper.make_tensor_value_info("head", 1, [3, 4])),
        "2 inputs",
    ),
    "no input": (lambda m: m.graph.ClearField("input"), "0 inputs"),
    "an input of another name": (lambda m: setattr(m.graph.input[0], "name", "x"), "named 'x'"),
    "the input as a weight": (lambda m: add_weight(m, "images", np.float32([1])), "also a weight"),
    "input in float64": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11), "'images' is float64"),
    "input in int64": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 7), "'images' is int64"),
    "input of dynamic rank": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "dynamic rank"),
    "input of three dimensions": (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "3 dimensions"),
    "input that is a sequence": (
        lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
        "'images' is not a tensor",
    ),
    "a fixed number of images": (lambda m: setattr(dimension(m.graph.input[0], 0), "dim_value", 1), "fixed batch"),
    "other channels": (lambda m: setattr(dimension(m.graph.input[0], 1), "dim_value", 3), "3 channels"),
    "other rows": (lambda m: setattr(dimension(m.graph.input[0], 2), "dim_value", 32), "32 rows"),
    "open columns": (lambda m: setattr(dimension(m.graph.input[0], 3), "dim_param", "w"), "open number of columns"),
    "no logits": (lambda m: m.graph.output.remove(output(m, "logits")), "no output 'logits'"),
    "no features": (lambda m: m.graph.output.remove(output(m, "features")), "no output 'features'"),
    "no class maps": (lambda m: m.graph.output.remove(output(m, "class_maps")), "no output 'class_maps'"),
    "an output too many": (lambda m: m.graph.output.add(name="body").type.CopyFrom(m.graph.output[0].type), "too many"),
    "an output twice": (lambda m: m.graph.output.append(m.graph.output[0]), "too many"),
    "an output in int64": (lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 7), "'logits' is int64"),
    "an output in float64": (lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 11), "is float64"),
    "an output of dynamic rank": (lambda m: m.graph.output[1].type.tensor_type.ClearField("shape"), "dynamic rank"),
    "maps of three dimensions": (lambda m: m.graph.output[2].type.tensor_type.shape.dim.pop(), "3 dimensions"),
    "an output of a fixed batch": (lambda m: setattr(dimension(m.graph.output[1], 0), "dim_value", 1), "fixed batch"),
    "labels stated otherwise": (lambda m: setattr(dimension(m.graph.output[0], 1), "dim_value", 5), "5 labels"),
    "map labels stated otherwise": (lambda m: setattr(dimension(m.graph.output[2], 1), "dim_value", 5), "5 labels"),
    "features stated otherwise": (lambda m: setattr(dimension(m.graph.output[1], 1), "dim_value", 9), "9 features"),
    "labels made otherwise": (lambda m: m.graph.node[3].input.__setitem__(1, "square_head"), "'logits' comes out"),
    "map rows made otherwise": (lambda m: setattr(dimension(m.graph.output[2], 2), "dim_value", 9), "comes out"),
    "an output nobody makes": (lambda m: m.graph.node[3].output.__setitem__(0, "lost"), "no operator makes"),
    "a result made twice": (lambda m: m.graph.node[1].output.__setitem__(0, "cells"), "'cells' is made twice"),
    "a result over a weight": (lambda m: m.graph.node[1].output.__setitem__(0, "head"), "'head' is made twice"),
    "a name nobody makes": (lambda m: m.graph.node[1].input.__setitem__(0, "nothing"), "'nothing' before it is made"),
    "operators out of order": (swapped, "'cells' before it is made"),
    "a circle": (circle, "'body' before it is made"),
    "two results of one operator": (lambda m: m.graph.node[1].output.append("second"), "2 results, not 1"),
    "no result of an operator": (lambda m: m.graph.node[1].ClearField("output"), "or none"),
    "an attribute not listed": (lambda m: insert(m, "Relu", ["body"], path="/etc/passwd"), "'path' is not known"),
    "an attribute twice": (lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]), "there twice"),
    "an attribute by reference": (lambda m: setattr(m.graph.node[0].attribute[0], "ref_attr_name", "x"), "plain type"),
    "an attribute of two values": (lambda m: setattr(m.graph.node[0].attribute[0], "f", 1.0), "plain type"),
    "a cast to float64": (lambda m: insert(m, "Cast", ["body"], to=TensorProto.DOUBLE), "casts to"),
    "a huge padding": (lambda m: m.graph.node[0].attribute[1].ints.__setitem__(0, 1 << 40), "out of range"),
    "a negative padding": (lambda m: m.graph.node[0].attribute[1].ints.__setitem__(0, -1), "out of range"),
    "no stride": (lambda m: m.graph.node[0].attribute[2].ints.__setitem__(0, 0), "out of range"),
    "another kernel": (lambda m: m.graph.node[0].attribute[0].ints.__setitem__(0, 5), "do not fit together"),
    "no group": (
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("group", 0)),
        "group is out of range",
    ),
    "channels that do not fit": (lambda m: replace(m, "kernels", np.zeros((4, 2, 3, 3), np.float32)), "2 channels"),
    "a linear layer that does not fit": (lambda m: replace(m, "head", np.zeros((3, 5), np.float32)), "5 features"),
    "doubled again and again": (doubling, "more than 1,073,741,824 elements are needed"),
    "a sum of a row and a column": (outer_sum, "more than 1,073,741,824 elements are needed"),
    "an expansion": (expanded, "more than 1,073,741,824 elements are needed"),
    "a product of all with all": (outer_product, "more than 4,398,046,511,104 multiplications"),
    "a fixed number of images inside": (lambda m: replace(m, "flat", np.array([1, 4, 48])), "cannot become [1, 4, 48]"),
    "whole numbers made of the image": (numbers_of_the_image, "casts to a type other than float32"),
    "a place outside": (places_in_the_image([4], "Gather"), "outside of 1"),
    "a place far outside, in two dimensions": (places_in_the_image([[0, 10**9]]), "outside of 4"),
    "a place before the first": (places_in_the_image([[0, -5]]), "outside of 4"),
    "a size looked up by the number of images": (looked_up, "a place is not a constant"),
    "a cut at the number of images": (cut_by_the_batch, "an axis or a place is not a constant"),
    "a sum with the number of images": (computed("Add"), "an element type that it does not take"),
    "a product with the number of images": (computed("Mul"), "an element type that it does not take"),
    "a difference from the number of images": (computed("Sub"), "an element type that it does not take"),
    "a division of whole numbers by 0": (divided_by_nothing, "an element type that it does not take"),
    "a result for each pair of images": (all_pairs, "'more' does not follow the number of images"),
    "a row more than there are images": (one_more, "'more' does not follow the number of images"),
    "a hundred images at most": (first_hundred, "'more' does not follow the number of images"),
    "a fixed number of images that is one tried": (fixed_to_three, "[1, 4] cannot become [3, 4]"),
    "large results together": (many_large, "1,073,741,824 elements are needed at once"),
    "large results that nobody uses": (lambda m: many_large(m, False), "1,073,741,824 elements are needed at once"),
    "many constants": (many_constants, "1,073,741,824 elements are needed at once"),
    "a product of all images with all": (contracted_pairs, "work of 'more' does not follow the number of images"),
    "much to multiply": (much_work, "4,398,046,511,104 multiplications"),
    "much to read": (reading, "4,398,046,511,104 multiplications"),
    "more parts than there are results": (split_in_many, "it has 1 results, not 1099511627776"),
    "a part for each of many results": (split_in_all, "more than 64 inputs or results"),
    "a weight of 65 dimensions": (many_dimensions(1, 65, TensorProto.INT64), "'deep' has more than 8 dimensions"),
    "a weight of many large dimensions": (many_dimensions((1 << 62) - 1, 40_000), "'deep' has more than 8 dimensions"),
    "a constant of 65 dimensions": (deep_constant, "'deep' has more than 8 dimensions"),
    "an output of whole numbers": (whole_output, "'features' comes out as int64, not float32"),
    "an axis that is not there": (lambda m: replace(m, "axes", np.array([2, 9])), "do not fit together"),
    "a stated result in float64": (
        lambda m: m.graph.value_info.append(helper.make_tensor_value_info("body", TensorProto.DOUBLE, None)),
        "'body' is float64",
    ),
}  # fmt: skip


def base_for(title: str) -> Any:
    model = small_graph()
    if title == "labels made otherwise":
        add_weight(model, "square_head", np.zeros((4, 4), np.float32))
        model.graph.node[3].input.pop()
    return model


def test_the_valid_graphs_pass() -> None:
    assert refusal(small_graph()) == ""
    assert refusal(quantised_graph(), int8=True) == ""
    assert refusal(base_for("labels made otherwise")) == "", "the change, not its base, must be what is refused"


@pytest.mark.parametrize("title", REFUSED)
def test_a_graph_is_refused_with_its_reason(title: str) -> None:
    change, reason = REFUSED[title]
    model = base_for(title)
    change(model)
    before = time.perf_counter()
    assert reason in refusal(model)
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize(
    ("interface", "reason"),
    [
        ({"labels": 7}, "'logits' has 3 labels, and the bundle has 7"),
        ({"features": 7}, "'features' has 4 features, and the bundle has 7"),
        ({"channels": 3}, "'images' has 1 channels, and the bundle has 3"),
        ({"columns": 16}, "'images' has 12 columns, and the bundle has 16"),
        ({"rows": None, "columns": None}, "does not fix rows and columns"),
        ({"class_maps": False}, "'class_maps' too many"),
    ],
)
def test_a_valid_graph_of_another_bundle_is_refused(interface: dict[str, Any], reason: str) -> None:
    assert reason in refusal(small_graph(), **interface)


def test_a_size_of_the_input_may_become_a_size() -> None:
    model = small_graph()
    batch_size(model)
    for name, number in (("forty_eight", 48), ("four", 4)):
        add_weight(model, name, np.array([number]))
    model.graph.node.insert(1, helper.make_node("Concat", ["n", "four", "forty_eight"], ["sizes"], axis=0))
    insert(model, "Reshape", ["body", "sizes"], at=4)
    assert refusal(model) == ""


def test_results_that_are_no_longer_needed_give_their_memory_back() -> None:
    model = small_graph()
    add_weight(model, "wide", np.zeros((1, 1, 1 << 11, 1 << 11), np.float32))
    add_weight(model, "square_features", np.array([-1, 4, 1, 1]))
    model.graph.node.append(helper.make_node("Reshape", ["features", "square_features"], ["spread"]))
    for number in range(100):  # 2**24 elements each, which follow from the image
        model.graph.node.append(helper.make_node("Add", ["spread", "wide"], [f"a{number}"]))
        model.graph.node.append(helper.make_node("ReduceSum", [f"a{number}", "axes"], [f"b{number}"]))
    assert refusal(model) == ""
    model.graph.node.append(helper.make_node("Concat", [f"a{number}" for number in range(64)], ["all"], axis=1))
    assert "1,073,741,824 elements are needed at once" in refusal(model)


@pytest.mark.parametrize(
    "kind", [TypeError, IndexError, KeyError, OverflowError, MemoryError, RecursionError, ValueError]
)
def test_what_the_check_did_not_foresee_is_a_refusal(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: bytes) -> None:
        raise kind("x\ny")

    monkeypatch.setattr(onnx_graph, "parse", broken)
    assert refusal(small_graph()) == f"the check could not follow it ({kind.__name__})"


def test_a_long_graph_is_checked_quickly() -> None:
    model = small_graph()
    for number in range(9_000):
        before = f"y{number - 1}" if number else "body"
        model.graph.node.append(helper.make_node("Add", [before, before], [f"y{number}"]))
    before_it = time.perf_counter()
    assert refusal(model) == ""
    assert time.perf_counter() - before_it < 2


def test_weights_beyond_the_cap_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "MAX_ELEMENTS", 50)
    assert "more than 50 elements" in refusal(small_graph())


def test_the_place_outside_the_file_is_told_in_plain_letters() -> None:
    model = small_graph()
    outside(model)
    assert "in '../../../etc/\\x1b[2Jpasswd'" in refusal(model)


def test_external_data_is_found_in_a_constant() -> None:
    model = small_graph()
    value = numpy_helper.from_array(np.float32([1.0]), "inside")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["more"], value=value))
    assert refusal(model) == ""
    model.graph.node[0].attribute[0].t.external_data.add(key="location", value="weights.bin")
    assert "'inside' lies outside the file, in 'weights.bin'" in refusal(model)


def test_weights_in_typed_fields_are_read_like_raw_ones() -> None:
    model = small_graph()
    weight_of(model, "bias").CopyFrom(helper.make_tensor("bias", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]))
    weight_of(model, "axes").CopyFrom(helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]))
    assert refusal(model) == ""
    weight_of(model, "bias").float_data[1] = float("nan")
    assert "'bias' holds values that are not finite" in refusal(model)


def test_the_quantised_form_is_refused_where_its_scales_do_not_fit() -> None:
    model = quantised_graph()
    weight_of(model, "steps").CopyFrom(helper.make_tensor("steps", TensorProto.FLOAT, [3], [0.1, 0.2, 0.3]))
    assert "DequantizeLinear that makes 'near_kernels': its inputs do not fit" in refusal(model, int8=True)
    assert "float32" in refusal(quantised_graph())
