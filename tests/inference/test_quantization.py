"""Weights of 8 and 4 bits cost what their rounding costs, and no more."""

from pathlib import Path

import numpy as np
import pytest

from studio.inference.quantization import GROUP_SIZE, constant, halve_constants

ROUNDED = {8: 0.015, 4: 0.11}
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def error(weight: np.ndarray, bits: int, activations_bits: int = 32) -> float:
    """Mean error of a product, as a share of its size."""
    import openvino
    from openvino import opset15 as ops

    values = np.random.default_rng(2).normal(size=(2, 3, weight.shape[1])).astype(np.float32)
    given = ops.parameter([-1, -1, weight.shape[1]], np.float32)
    product = ops.matmul(given, constant(weight, bits), False, True)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0 if activations_bits == 32 else GROUP_SIZE,
    }
    model = openvino.Model([ops.result(product)], [given], "product")
    found = openvino.Core().compile_model(model, "CPU", settings)(values)[0]
    true = values @ weight.T
    return float(np.abs(found - true).mean() / np.abs(true).mean())


def weights(outputs: int, inputs: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0.01, 0.05, (outputs, inputs)).astype(np.float32)


@pytest.mark.parametrize("activations_bits", [32, 8])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_product_is_nearly_the_same(bits: int, activations_bits: int) -> None:
    found = error(weights(96, 4 * GROUP_SIZE), bits, activations_bits)
    assert ROUNDED[bits] / 20 < found < ROUNDED[bits]


def test_rows_that_are_no_whole_groups_keep_8_bits() -> None:
    odd = weights(96, GROUP_SIZE + 2)
    assert error(odd, 4) == error(odd, 8) < ROUNDED[8]


def test_weights_of_a_few_levels_stay_as_they_are() -> None:
    """Zero is one of the levels, also where all weights of a group have one sign."""
    levels = np.random.default_rng(3).integers(0, 16, (64, 2 * GROUP_SIZE)).astype(np.float32)
    levels[:, ::GROUP_SIZE] = 15
    levels[:, 1::GROUP_SIZE] = 0
    assert error(levels / 15, 4) < 1e-5
    assert error(-levels / 15, 4) < 1e-5
    assert error(np.zeros((64, GROUP_SIZE), np.float32) + 1e-3, 4) < 1e-5


def test_only_what_float16_holds_exactly_is_halved(tmp_path: Path) -> None:
    """A stored graph with released weights, which were float16, is half as large and as exact."""
    import openvino
    from openvino import opset15 as ops

    released = weights(64, 64).astype(np.float16).astype(np.float32)
    own = np.array([1e-5, 1e9], np.float32).repeat(32)
    given = ops.parameter([1, 64], np.float32)
    product = ops.multiply(
        ops.matmul(given, ops.constant(released), False, True), ops.constant(own)
    )
    model = openvino.Model([ops.result(product)], [given], "released")
    values = np.random.default_rng(2).normal(size=(1, 64)).astype(np.float32)
    before = openvino.Core().compile_model(model, "CPU", EXACT)(values)[0]
    halve_constants(model)
    openvino.save_model(model, tmp_path / "graph.xml", compress_to_fp16=False)
    assert (tmp_path / "graph.bin").stat().st_size < 1.1 * 64 * 64 * 2
    after = openvino.Core().compile_model(tmp_path / "graph.xml", "CPU", EXACT)(values)[0]
    assert np.array_equal(after, before)
