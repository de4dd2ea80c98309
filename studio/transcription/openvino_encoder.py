"""Whisper's encoder as an OpenVINO graph, made from the weights of a CTranslate2 directory.

CTranslate2 has no bf16 on a CPU. Where the processor has it, this encoder takes half the time of
CTranslate2's own in int8; the decoder stays with CTranslate2.
"""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

MODEL_FILE = "model.bin"
FRAMES = 3000
NORM_EPSILON = 1e-5
_FORMAT_VERSION = 6
_SPECIFICATION = "WhisperSpec"
# By their numbers in the file; bfloat16 (5), which NumPy lacks, is read as its bits.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16, 5: np.uint16}
_BFLOAT16 = 5


class NotReadable(Exception):
    """The weights are not laid out as expected; the text says how."""


def read_encoder(path: Path) -> dict[str, Array]:
    """The encoder's variables in a `model.bin`, by their names without `encoder/`, as float32.

    Raises NotReadable for another format.
    """
    encoder = {
        name.removeprefix("encoder/"): value
        for name, value in _variables(path).items()
        if name.startswith("encoder/")
    }
    return {
        name: _as_floats(value, encoder.get(f"{name}_scale")) for name, value in encoder.items()
    }


def _variables(path: Path) -> dict[str, Array]:
    """The variables of CTranslate2's binary format (`ModelSpec._serialize`), mapped from disk."""
    at = 0

    def take(length: int) -> npt.NDArray[np.uint8]:
        nonlocal at
        at += length
        if at > len(data):
            raise NotReadable(f"{path.name} is cut off")
        return data[at - length : at]

    def number(size: int) -> int:
        return int.from_bytes(take(size).tobytes(), "little")

    def text() -> str:
        return take(number(2))[:-1].tobytes().decode()

    try:
        data = np.memmap(path, np.uint8, "r")
        version, name, _revision = number(4), text(), number(4)
        if version != _FORMAT_VERSION or name != _SPECIFICATION:
            raise NotReadable(f"{path.name} is {name} in format {version}")
        variables: dict[str, Array] = {}
        for _ in range(number(4)):
            name = text()
            shape = [number(4) for _ in range(number(1))]
            kind = number(1)
            value = take(number(4)).view(_TYPES[kind]).reshape(shape)
            if kind == _BFLOAT16:
                value = (value.astype(np.uint32) << 16).view(np.float32)
            variables[name] = value
        # Equal variables are kept once.
        for _ in range(number(4)):
            name = text()
            variables[name] = variables[text()]
        return variables
    except (LookupError, ValueError) as error:
        raise NotReadable(f"{path.name} cannot be read: {error}") from error


def _as_floats(value: Array, scale: Array | None) -> Floats:
    """A variable as float32; integer weights have a scale for each row of the output."""
    floats: Floats = value.astype(np.float32)
    if scale is not None:
        floats /= scale.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
    return floats


class OpenVinoEncoder:
    """The compiled encoder; any number of threads may call it, one at a time is served.

    `threads` is how many it uses, 0 for its own choice.
    """

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import openvino

        self.precision = precision
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        graph = _graph(read_encoder(folder / MODEL_FILE))
        self._request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
        self._lock = Lock()

    def __call__(self, features: Floats) -> Floats:
        """Log-mel windows float32 (windows, mels, FRAMES) to (windows, FRAMES / 2, width)."""
        return np.concatenate([self._encode(np.ascontiguousarray(one[None])) for one in features])

    def _encode(self, features: Floats) -> Floats:
        with self._lock:
            self._request.infer([features], share_inputs=True)
            return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


def _graph(weights: dict[str, Array]) -> Any:
    """The encoder of Radford et al. 2022, section 2.2, for one window."""
    import openvino
    from openvino import opset13 as ops

    heads = int(weights["num_heads"])

    def constant(name: str) -> Any:
        return ops.constant(weights[name])

    def convolution(x: Any, name: str, stride: int) -> Any:
        made = ops.convolution(x, constant(f"{name}/weight"), [stride], [1], [1], [1])
        bias = weights[f"{name}/bias"].reshape(1, -1, 1)
        return ops.gelu(ops.add(made, ops.constant(bias)), "erf")

    def linear(x: Any, name: str) -> Any:
        made = ops.matmul(x, constant(f"{name}/weight"), False, True)
        return ops.add(made, constant(f"{name}/bias"))

    def normalised(x: Any, name: str) -> Any:
        axes = ops.constant(np.array([-1], np.int64))
        plain = ops.mvn(x, axes, True, NORM_EPSILON, "inside_sqrt")
        return ops.add(ops.multiply(plain, constant(f"{name}/gamma")), constant(f"{name}/beta"))

    def attended(x: Any, name: str) -> Any:
        whole = linear(x, f"{name}/linear_0")
        split = ops.reshape(whole, np.array([1, FRAMES // 2, 3 * heads, -1], np.int64), False)
        turned = ops.transpose(split, np.array([0, 2, 1, 3]))
        query, key, value = ops.split(turned, ops.constant(np.array(1, np.int64)), 3).outputs()
        found = ops.scaled_dot_product_attention(query, key, value)
        back = ops.transpose(found, np.array([0, 2, 1, 3]))
        joined = ops.reshape(back, np.array([1, FRAMES // 2, -1], np.int64), False)
        return linear(joined, f"{name}/linear_1")

    mels = weights["conv1/weight"].shape[1]
    features = ops.parameter([1, mels, FRAMES], np.float32, name="features")
    x = convolution(convolution(features, "conv1", 1), "conv2", 2)
    x = ops.transpose(x, np.array([0, 2, 1]))
    x = ops.add(x, constant("position_encodings/encodings"))
    layers = sum(name.endswith("/self_attention/linear_0/weight") for name in weights)
    for layer in (f"layer_{number}" for number in range(layers)):
        seen = normalised(x, f"{layer}/self_attention/layer_norm")
        x = ops.add(x, attended(seen, f"{layer}/self_attention"))
        inner = linear(normalised(x, f"{layer}/ffn/layer_norm"), f"{layer}/ffn/linear_0")
        x = ops.add(x, linear(ops.gelu(inner, "erf"), f"{layer}/ffn/linear_1"))
    return openvino.Model([normalised(x, "layer_norm")], [features], "whisper-encoder")
