"""Weights of 16, 8 and 4 bits, in forms that OpenVINO reads or multiplies as they are."""

from typing import Any

import numpy as np
import numpy.typing as npt

from studio.inference.openvino_import import compress_to_float16, import_openvino

Matrix = npt.NDArray[np.float32]

# So many values of a row share a scale: weights of 4 bits, and what is multiplied by small weights.
GROUP_SIZE = 64
ROWS_AT_ONCE = 4096
_LEVELS_OF_4_BITS = 15


def constant(weight: Matrix, bits: int) -> Any:
    """A matrix (outputs, inputs) of 32, 8 or 4 bits as a node of a graph, which gives float32.

    Rows whose length is not a multiple of GROUP_SIZE get 8 bits instead of 4.
    """
    opset15 = import_openvino().opset15
    if bits == 32:
        return opset15.constant(weight)
    if bits == 8 or weight.shape[1] % GROUP_SIZE:
        return _of_8_bits(weight)
    return _of_4_bits(weight)


def halve_constants(model: Any) -> None:
    """Store constants as float16 where that loses nothing, as in released networks.

    A graph then takes half of the space on the disk, and OpenVINO less memory to load it.
    """
    ops = import_openvino().opset15
    rounded = {
        node.get_friendly_name(): np.array(node.data)
        for node in model.get_ordered_ops()
        if _is_float32(node) and not np.array_equal(_halved(node.data), node.data)
    }
    compress_to_float16(model)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_friendly_name() in rounded:
            exact = ops.constant(rounded[node.get_friendly_name()])
            node.output(0).replace(exact.output(0))


def _is_float32(node: Any) -> bool:
    types = import_openvino().Type
    return bool(node.get_type_name() == "Constant" and node.get_element_type() == types.f32)


def _halved(values: Any) -> Any:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _of_8_bits(weight: Matrix) -> Any:
    """Each row with a scale. Unsigned, or they would be unpacked before they are multiplied."""
    ops = import_openvino().opset15
    most = np.maximum(weight.max(axis=1, keepdims=True), -weight.min(axis=1, keepdims=True))
    scale = _no_zero(most / 127.0)
    small = np.empty(weight.shape, np.uint8)
    # A vocabulary's matrix as a whole would be copied several times.
    for start in range(0, len(weight), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        small[part] = np.clip(np.rint(weight[part] / scale[part]), -127, 127) + 128
    zero = np.full_like(scale, 128, np.uint8)
    return _unpacked(ops.constant(small), ops.constant(zero), scale)


def _of_4_bits(weight: Matrix) -> Any:
    """Each group of a row with a scale and a zero of its own."""
    ops = import_openvino().opset15
    outputs, inputs = weight.shape
    groups = weight.reshape(outputs, inputs // GROUP_SIZE, GROUP_SIZE)
    lowest = np.minimum(groups.min(axis=2, keepdims=True), 0.0)
    highest = np.maximum(groups.max(axis=2, keepdims=True), 0.0)
    scale = _no_zero((highest - lowest) / _LEVELS_OF_4_BITS)
    zero = np.rint(-lowest / scale)
    small = np.clip(np.rint(groups / scale) + zero, 0, _LEVELS_OF_4_BITS)
    unpacked = _unpacked(_packed(small), _packed(zero), scale)
    return ops.reshape(unpacked, ops.constant(np.array([outputs, inputs], np.int64)), False)


def _packed(values: npt.NDArray[Any]) -> Any:
    """Values of 0 to 15, two in a byte."""
    openvino = import_openvino()
    flat = values.astype(np.uint8).reshape(-1)
    flat = np.pad(flat, (0, len(flat) % 2))
    bytes_ = flat[0::2] | (flat[1::2] << 4)
    tensor = openvino.Tensor(bytes_, openvino.Shape(list(values.shape)), openvino.Type.u4)
    return openvino.op.Constant(tensor, shared_memory=False)


def _unpacked(small: Any, zero: Any, scale: Matrix) -> Any:
    ops = import_openvino().opset15
    signed = ops.subtract(ops.convert(small, "f32"), ops.convert(zero, "f32"))
    return ops.multiply(signed, ops.constant(scale))


def _no_zero(scale: npt.NDArray[Any]) -> Matrix:
    smallest: Matrix = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    return smallest
