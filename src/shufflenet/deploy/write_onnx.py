"""A network → ONNX, node for node, with an open batch.

torch's own exporter takes up to a minute for these networks, folds batch normalization whether asked to or not, and with an open
picture size surrounds every shuffle by Shape, Div and Concat. So the graph that torch.export captures is written here, by the
table of operators below.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from shufflenet import __version__
from shufflenet.deploy.exportable import Exportable
from shufflenet.errors import UserError
from shufflenet.nets import integers  # noqa: F401  # registers the operators of quantized networks

OPSET = 17  # the newest that every runtime here reads
IR_VERSION = 8
aten = torch.ops.aten
fake_quantize_operator = torch.ops.shufflenet.fake_quantize.default
dequantize_operator = torch.ops.shufflenet.dequantize.default


@dataclass
class Writer:
    """The ONNX graph as it grows. `names` maps captured nodes to ONNX values, `constants` those whose value is known already."""

    source: Exportable
    names: dict[fx.Node, str] = field(default_factory=dict)
    constants: dict[fx.Node, Tensor] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    shapes: dict[tuple[int, ...], str] = field(default_factory=dict)

    def name(self, node: fx.Node) -> str:
        """The ONNX value that stands for a captured node; a constant becomes an initializer here, when something reads it."""
        if node not in self.names:
            self.names[node] = self.constant(node.name, self.constants[node])
        return self.names[node]

    def constant(self, name: str, value: Tensor | list[int]) -> str:
        array = np.array(value, np.int64) if isinstance(value, list) else value.detach().numpy()
        self.initializers[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def add(self, node: fx.Node, kind: str, inputs: list[str], **attributes: Any) -> None:
        self.names[node] = self.value(kind, inputs, node.name, **attributes)

    def value(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def shape_of(self, node: fx.Node) -> str:
        """The run-time shape of a node with an open size: one Shape operator for all nodes of the same shape."""
        shape = tuple(node.meta["val"].shape)
        if shape not in self.shapes:
            self.shapes[shape] = self.value("Shape", [self.name(node)], f"{node.name}_shape")
        return self.shapes[shape]


def _arguments(node: fx.Node) -> dict[str, Any]:
    """All arguments by the names in the operator's schema, defaults filled in."""
    target: Any = node.target
    given = dict(zip((argument.name for argument in target._schema.arguments), node.args, strict=False)) | dict(
        node.kwargs
    )
    return {a.name: given.get(a.name, a.default_value) for a in target._schema.arguments}


def _pair(values: list[int]) -> list[int]:
    return list(values) * 2 if len(values) == 1 else list(values)


def _window(a: dict[str, Any], kernel: list[int]) -> dict[str, Any]:
    return {"kernel_shape": _pair(kernel), "strides": _pair(a["stride"] or kernel), "pads": _pair(a["padding"]) * 2}


def _convolution(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    inputs = [w.name(a[name]) for name in ("input", "weight", "bias") if a[name] is not None]
    window = _window(a, list(a["weight"].meta["val"].shape[2:]))
    w.add(node, "Conv", inputs, **window, dilations=_pair(a["dilation"]), group=a["groups"])


def _batch_norm(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    inputs = [w.name(a[name]) for name in ("input", "weight", "bias", "running_mean", "running_var")]
    w.add(node, "BatchNormalization", inputs, epsilon=a["eps"])


def _max_pool(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    w.add(node, "MaxPool", [w.name(a["self"])], **_window(a, a["kernel_size"]), ceil_mode=int(a["ceil_mode"]))


def _average_pool(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    window = _window(a, a["kernel_size"])
    w.add(node, "AveragePool", [w.name(a["self"])], **window, count_include_pad=int(a["count_include_pad"]))


def _adaptive_pool(w: Writer, node: fx.Node) -> None:
    """Average over windows that share a plane out evenly: [n, c, h, w] → [n, c, *output_size]."""
    a = _arguments(node)
    x, size, output_size = w.name(a["self"]), list(a["self"].meta["val"].shape[2:]), _pair(a["output_size"])
    if output_size == [1, 1]:
        return w.add(node, "GlobalAveragePool", [x])
    if w.source.open_size:
        raise UserError(
            f"{w.source.name} averages to {output_size[0]}×{output_size[1]}, which no ONNX operator does for an open size; "
            "export it for one size"
        )
    if size == output_size:
        w.names[node] = x
        return None
    windows = [_adaptive_window(*lengths) for lengths in zip(size, output_size, strict=True)]
    if all(windows):
        kernel, strides = zip(*windows, strict=True)
        return w.add(node, "AveragePool", [x], kernel_shape=kernel, strides=strides)
    # Windows that are not alike: what they weigh is a matrix for the rows and one for the columns.
    down, across = (
        torch.nn.functional.adaptive_avg_pool1d(torch.eye(n)[None], m)[0]
        for n, m in zip(size, output_size, strict=True)
    )
    x = w.value("MatMul", [w.constant(f"{node.name}_rows", down.T), x], f"{node.name}_down")
    return w.add(node, "MatMul", [x, w.constant(f"{node.name}_columns", across)])


def _adaptive_window(length: int, windows: int) -> tuple[int, int] | None:
    """Size and stride of torch's adaptive windows; None where they are not all alike, or all the same."""
    bounds = [(i * length // windows, -(-(i + 1) * length // windows)) for i in range(windows)]
    size, stride = bounds[0][1], bounds[1][0] if windows > 1 else 1
    return (size, stride) if stride and bounds == [(i * stride, i * stride + size) for i in range(windows)] else None


def _mean(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    if sorted(a["dim"]) != [2, 3]:
        _refuse(node)
    if a["keepdim"]:
        return w.add(node, "GlobalAveragePool", [w.name(a["self"])])
    pooled = w.value("GlobalAveragePool", [w.name(a["self"])], f"{node.name}_pool")
    return w.add(node, "Flatten", [pooled], axis=1)


def _linear(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    w.add(node, "Gemm", [w.name(a[name]) for name in ("input", "weight", "bias") if a[name] is not None], transB=1)


def _concatenate(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    w.add(node, "Concat", [w.name(tensor) for tensor in a["tensors"]], axis=a["dim"])


def _channel_shuffle(w: Writer, node: fx.Node) -> None:
    """Reshape, Transpose, Reshape with constant shapes. An open size is flattened on the way, and read off the input at the end."""
    a = _arguments(node)
    x, groups, (_, channels, *size) = w.name(a["self"]), a["groups"], node.meta["val"].shape
    size = [-1] if w.source.open_size else size
    split, swapped = [0, groups, channels // groups, *size], [0, 2, 1, *range(3, 3 + len(size))]
    shape = w.shape_of(a["self"]) if w.source.open_size else w.constant(f"{node.name}_shape", [0, channels, *size])
    x = w.value("Reshape", [x, w.constant(f"{node.name}_split_shape", split)], f"{node.name}_split")
    x = w.value("Transpose", [x], f"{node.name}_transpose", perm=swapped)
    w.add(node, "Reshape", [x, shape])


def _pad(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    if w.source.open_size:
        raise UserError(
            f"{w.source.name} is padded by what its size needs (padding='same'), which an open size does not tell; "
            "export it for one size"
        )
    left, right, top, bottom = a["pad"]
    w.add(node, "Pad", [w.name(a["self"]), w.constant(f"{node.name}_pads", [0, 0, top, left, 0, 0, bottom, right])])


def _cast(w: Writer, node: fx.Node) -> None:
    a = _arguments(node)
    if a["dtype"] is not torch.float32:
        _refuse(node)
    if a["self"].meta["val"].dtype is torch.float32:
        w.names[node] = w.name(a["self"])
    else:
        w.add(node, "Cast", [w.name(a["self"])], to=TensorProto.FLOAT)


def _plain(kind: str, *attributes: str) -> Callable[[Writer, fx.Node], None]:
    """An operator whose tensors are ONNX's inputs in the same order, and of whose other arguments `attributes` count."""
    renamed = {"start_dim": "axis", "dim": "axis", "dims": "perm"}

    def write(w: Writer, node: fx.Node) -> None:
        a = _arguments(node)
        inputs = [w.name(value) for value in a.values() if isinstance(value, fx.Node)]
        w.add(node, kind, inputs, **{renamed[name]: a[name] for name in attributes})

    return write


def _fake_quantize(w: Writer, node: fx.Node) -> None:
    """QuantizeLinear and DequantizeLinear; the element is told by the zero point's type."""
    a = _arguments(node)
    kind = torch.uint8 if a["low"] == 0 else torch.int8
    scale, zero_point = (w.constants[a[name]] for name in ("scale", "zero_point"))
    name = a["scale"].name.removesuffix(".scale")
    parameters = [w.constant(f"{name}.scale", scale), w.constant(f"{name}.zero_point", zero_point.to(kind))]
    codes = w.value("QuantizeLinear", [w.name(a["x"]), *parameters], f"{node.name}_codes")
    w.add(node, "DequantizeLinear", [codes, *parameters])


def _dequantize(w: Writer, node: fx.Node) -> None:
    """Weights or bias: a scale for each index of the first axis, zero point 0."""
    a = _arguments(node)
    w.add(node, "DequantizeLinear", [w.name(a["codes"]), w.name(a["scale"])], axis=0)


def _identity(w: Writer, node: fx.Node) -> None:
    w.names[node] = w.name(_arguments(node)["input"])


def _refuse(node: fx.Node) -> None:
    raise UserError(
        f"{node.target} at {node.name} has no counterpart in deploy/write_onnx.py; export with torch.onnx.export"
    )


OPERATORS: dict[Any, Callable[[Writer, fx.Node], None]] = {
    aten.conv2d.default: _convolution,
    aten.batch_norm.default: _batch_norm,
    aten.relu.default: _plain("Relu"),
    aten.relu_.default: _plain("Relu"),
    aten.sigmoid.default: _plain("Sigmoid"),
    aten.neg.default: _plain("Neg"),
    aten.add.Tensor: _plain("Add"),
    aten.mul.Tensor: _plain("Mul"),
    aten.div.Tensor: _plain("Div"),
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _average_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.linear.default: _linear,
    aten.cat.default: _concatenate,
    aten.permute.default: _plain("Transpose", "dims"),
    aten.channel_shuffle.default: _channel_shuffle,
    aten.flatten.using_ints: _plain("Flatten", "start_dim"),
    aten.softmax.int: _plain("Softmax", "dim"),
    aten.pad.default: _pad,
    aten.to.dtype: _cast,
    aten.dropout.default: _identity,
    fake_quantize_operator: _fake_quantize,
    dequantize_operator: _dequantize,
}


def _fold_batch_norm(w: Writer, graph: fx.Graph) -> None:
    """Merge each batch normalization into the convolution that alone feeds it. In float64, so that nothing is lost twice."""
    for norm in graph.find_nodes(op="call_function", target=aten.batch_norm.default):
        convolution = norm.args[0]
        if convolution.target is not aten.conv2d.default or len(convolution.users) > 1:
            continue
        a, b = _arguments(norm), _arguments(convolution)
        gamma, beta, mean, variance = (
            w.constants[a[name]].double() for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / (variance + a["eps"]).sqrt()
        bias = w.constants[b["bias"]].double() if b["bias"] is not None else 0.0
        w.constants[b["weight"]] = (w.constants[b["weight"]].double() * scale[:, None, None, None]).float()
        w.constants[a["bias"]] = ((bias - mean) * scale + beta).float()
        convolution.args = (b["input"], b["weight"], a["bias"], b["stride"], b["padding"], b["dilation"], b["groups"])
        norm.replace_all_uses_with(convolution)


def _known_values(w: Writer, graph: fx.Graph) -> None:
    """Compute what does not depend on the input's values, such as the share of a window that padding="same" leaves."""
    for node in graph.find_nodes(op="call_function", target=aten.ones_like.default):
        w.constants[node] = torch.ones(tuple(node.meta["val"].shape))  # the captured value is without numbers
    for node in graph.nodes:
        if node.target is dequantize_operator:  # integers stay integers
            continue
        if node.op == "call_function" and node.all_input_nodes and all(n in w.constants for n in node.all_input_nodes):
            w.constants[node] = node.target(*fx.map_arg(node.args, w.constants.__getitem__), **node.kwargs)


def shared_onnx(source: Exportable) -> onnx.ModelProto:
    """`to_onnx`, written once for all runtimes that start from it."""
    if "onnx" not in source.written:
        source.written["onnx"] = to_onnx(source)
    return source.written["onnx"]


def to_onnx(source: Exportable) -> onnx.ModelProto:
    """`source` as an ONNX model of opset 17: [batch, channels, height, width] → logits [batch, classes], batch open.

    With preprocessing: uint8 `pictures` [batch, height, width, channels] → `probabilities`. The shuffle is Reshape, Transpose, Reshape
    with constant shapes; with `open_size`, the second Reshape reads its shape from a Shape operator, one for all tensors of a shape.
    The metadata_props hold what a user of the file needs: architecture, classes, preprocessing. Raises UserError for what ONNX cannot say.
    """
    program = source.capture()
    w, graph = Writer(source), program.graph
    signature, state = program.graph_signature, {**program.state_dict, **program.constants}
    placeholders = {node.name: node for node in graph.find_nodes(op="placeholder")}
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for placeholder, node in placeholders.items():
        if placeholder in stored:
            w.constants[node] = state[stored[placeholder]]
            node.name = stored[placeholder]  # initializers go by the names of the checkpoint
    (entry,) = signature.user_inputs
    w.names[placeholders[entry]] = source.input_name
    if source.fold_batch_norm:
        _fold_batch_norm(w, graph)
    _known_values(w, graph)
    result: Any = graph.output_node().args[0][0]  # type: ignore[index]
    for node in _needed(graph, result, w):
        OPERATORS.get(node.target, lambda _, node: _refuse(node))(w, node)
    return _model(w, w.names[result])


def _needed(graph: fx.Graph, result: fx.Node, w: Writer) -> list[fx.Node]:
    """The operations that the result depends on, less the constants, in order."""
    needed, waiting = set(), [result]
    while waiting:
        node = waiting.pop()
        if node.op == "call_function" and node not in needed and node not in w.constants:
            needed.add(node)
            waiting += node.all_input_nodes
    return [node for node in graph.nodes if node in needed]


def _model(w: Writer, result: str) -> onnx.ModelProto:
    source = w.source
    rename = {result: source.output_name}
    for node in w.nodes:
        outputs = [rename.get(name, name) for name in node.output]
        del node.output[:]
        node.output.extend(outputs)
    shape: list[int | str] = list(source.input_shape)
    if source.open_size:
        axis = 0 if source.with_preprocessing else 1
        shape[axis : axis + 2] = ["height", "width"]
    kind = TensorProto.UINT8 if source.dtype is torch.uint8 else TensorProto.FLOAT
    graph = helper.make_graph(
        w.nodes,
        source.name,
        [helper.make_tensor_value_info(source.input_name, kind, ["batch", *shape])],
        [
            helper.make_tensor_value_info(
                source.output_name, TensorProto.FLOAT, ["batch", source.net.spec["num_classes"]]
            )
        ],
        list(w.initializers.values()),
    )
    model = helper.make_model(
        graph,
        producer_name="shufflenet",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, properties(source))
    return model


def properties(source: Exportable) -> dict[str, str]:
    """What is written into a file's metadata: strings, JSON where they are not plain ones."""
    preprocessing = asdict(source.metadata.preprocessing) | {"size": source.height_width}
    return {
        "architecture": json.dumps(source.net.spec),
        "classes": json.dumps(source.metadata.classes, ensure_ascii=False),
        "preprocessing": "in the graph, after resizing and cropping"
        if source.with_preprocessing
        else "outside the graph",
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in preprocessing.items()},
    }
