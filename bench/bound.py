"""How fast a separation could be at most: the time that its products alone take.

What a graph multiplies is counted; how fast this processor multiplies is measured, on products of
the size of the network's largest ones.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

# The network's widest layers: rows, inputs and outputs.
ROWS, NARROW, WIDE = 2688, 512, 2048
PAIRS, ROUNDS = 4, 10
PRODUCTS = {
    "MatMul",
    "Convolution",
    "ConvolutionBackpropData",
    "ScaledDotProductAttention",
    "LSTMSequence",
}


def products(layers: Any) -> float:
    """Additions and multiplications in the products of a graph; `layers` may be its path."""
    import openvino

    model = openvino.Core().read_model(layers) if isinstance(layers, Path) else layers
    return sum(products_of(node) for node in model.get_ordered_ops())


def products_of(node: Any) -> float:
    """Those of one operation; 0 where it multiplies no matrices."""
    if node.get_type_name() not in PRODUCTS:
        return 0.0
    first, second = (_sizes(node.input_value(number)) for number in (0, 1))
    made = float(np.prod(_sizes(node.output(0))))
    match node.get_type_name():
        case "MatMul":
            is_turned = node.get_attributes()["transpose_a"]
            return 2.0 * made * int(first[-2 if is_turned else -1])
        case "Convolution":
            return 2 * made * float(np.prod(second[1:]))
        case "ConvolutionBackpropData":
            return 2 * float(np.prod(first)) * float(np.prod(second[1:]))
        case "ScaledDotProductAttention":
            # Queries with all keys, and what comes of it with all values. Keys that a graph
            # remembers are as many as the mask says.
            keys = _sizes(node.input_value(3))[-1] if node.get_input_size() > 3 else second[-2]
            return 2 * 2 * float(np.prod(first)) * int(keys)
        case _:
            # An LSTM multiplies each frame and its last output with four matrices.
            _, frames, inputs = first
            return 2 * 4 * frames * second[-1] * (inputs + second[-1])


def _sizes(output: Any) -> list[int]:
    """The shape of an output, with -1 for sizes that depend on the state of the graph."""
    shape = output.get_partial_shape()
    return [-1 if one.is_dynamic else one.get_length() for one in shape]


def per_second(precision: str) -> float:
    """Additions and multiplications a second that OpenVINO reaches on all cores."""
    import openvino
    from openvino import opset15 as ops

    rng = np.random.default_rng(0)
    x = given = ops.parameter([1, ROWS, NARROW], np.float32)
    for _ in range(PAIRS):
        for outputs, inputs in ((WIDE, NARROW), (NARROW, WIDE)):
            weight = rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
            x = ops.matmul(x, ops.constant(weight), False, True)
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Model([ops.result(x)], [given], "products")
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    sound = rng.normal(size=(1, ROWS, NARROW)).astype(np.float32)
    seconds = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        request.infer([sound])
        seconds.append(time.perf_counter() - began_s)
    return 2 * PAIRS * 2 * ROWS * NARROW * WIDE / min(seconds)
