"""How fast a network could be at most: the time that its products alone take.

What a graph multiplies is counted. How fast this processor multiplies is measured, on products of
the size of the separation network's largest ones, and on products of two rows, which are limited by
how fast their matrices are read.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from studio.inference.quantization import GROUP_SIZE, Matrix, constant

# The network's widest layers: rows, inputs and outputs.
ROWS, NARROW, WIDE = 2688, 512, 2048
PAIRS, ROUNDS = 4, 10
# The matrices of two rows do not fit into the cache of a processor together.
FEW_ROWS, LARGE, LARGE_PAIRS = 2, 4096, 32
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

    def matrix(weight: Matrix) -> Any:
        return openvino.opset15.constant(weight)

    shape = ROWS, NARROW, WIDE
    least_s = _least_s(shape, PAIRS, matrix, {"INFERENCE_PRECISION_HINT": precision})
    return 2 * PAIRS * 2 * ROWS * NARROW * WIDE / least_s


def bytes_per_second() -> float:
    """Bytes a second of 8-bit matrices that OpenVINO multiplies two rows with, on all cores."""
    shape = FEW_ROWS, NARROW, LARGE
    settings = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE}
    least_s = _least_s(shape, LARGE_PAIRS, lambda weight: constant(weight, 8), settings)
    return 2 * LARGE_PAIRS * NARROW * LARGE / least_s


def _least_s(
    shape: tuple[int, int, int],
    pairs: int,
    matrix: Callable[[Matrix], Any],
    settings: dict[str, Any],
) -> float:
    """The shortest time of rows through pairs of matrices, to another width and back."""
    import openvino
    from openvino import opset15 as ops

    rows, narrow, wide = shape
    rng = np.random.default_rng(0)
    x = given = ops.parameter([1, rows, narrow], np.float32)
    for _ in range(pairs):
        for outputs, inputs in ((wide, narrow), (narrow, wide)):
            weight = rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
            x = ops.matmul(x, matrix(weight), False, True)
    model = openvino.Model([ops.result(x)], [given], "products")
    compiled = openvino.Core().compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **settings}
    )
    request = compiled.create_infer_request()
    sound = rng.normal(size=(1, rows, narrow)).astype(np.float32)
    seconds = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        request.infer([sound])
        seconds.append(time.perf_counter() - began_s)
    return min(seconds)
