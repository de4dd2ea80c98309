"""Reads the weights of a CTranslate2 directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

MODEL_FILE = "model.bin"
_FORMAT_VERSION = 6
_SPECIFICATION = "WhisperSpec"
# By type number in the file; bfloat16 (5), which NumPy lacks, is read as raw bits.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16, 5: np.uint16}
_BFLOAT16 = 5


def from_bf16(bits: npt.NDArray[np.uint16]) -> Floats:
    """bfloat16 as float32, from its raw bits."""
    floats: Floats = (bits.astype(np.uint32) << 16).view(np.float32)
    return floats


class NotReadable(Exception):
    """The weights have an unexpected format; the message says why."""


class Weights:
    """The variables of an encoder or decoder by name, memory-mapped."""

    def __init__(self, variables: dict[str, Array], half: str) -> None:
        self._variables = {
            name.removeprefix(f"{half}/"): value
            for name, value in variables.items()
            if name.startswith(f"{half}/")
        }

    @property
    def layers(self) -> int:
        return sum(
            name.startswith("layer_") and name.endswith("/self_attention/linear_0/weight")
            for name in self._variables
        )

    def shape(self, name: str) -> tuple[int, ...]:
        return self._variables[name].shape

    def number(self, name: str, missing: int | None = None) -> int:
        """A setting of the network; `missing` is the value for older files without it."""
        if name not in self._variables and missing is not None:
            return missing
        return int(self._variables[name])

    def floats(self, name: str, scale: str | None = None) -> Floats:
        """A variable as float32; integer weights have one scale per output row.

        `scale` names the variable with the scales, if it has none of its own.
        """
        value = self._variables[name]
        floats: Floats = value.astype(np.float32)
        scales = self._variables.get(f"{scale or name}_scale")
        if scales is not None and np.issubdtype(value.dtype, np.integer):
            floats /= scales.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
        return floats

    def table(self, name: str) -> "Table":
        # Copied to memory: overwriting a mapped file would crash the process.
        values, scales = np.array(self._variables[name]), self._variables.get(f"{name}_scale")
        # 16-bit weights have one scale for all rows.
        return Table(values, None if scales is None else np.resize(scales, len(values)))


@dataclass(frozen=True)
class Table:
    """An embedding table; integer tables have one scale per row."""

    values: Array
    scales: Array | None

    def rows(self, indices: npt.NDArray[np.int64]) -> Floats:
        """float32 (*indices.shape, columns)."""
        rows: Floats = self.values[indices].astype(np.float32)
        if self.scales is not None:
            rows /= self.scales[indices].astype(np.float32)[..., None]
        return rows


def read_weights(path: Path) -> tuple[Weights, Weights]:
    """The encoder and decoder of a `model.bin`. Raises NotReadable."""
    variables = _variables(path)
    return Weights(variables, "encoder"), Weights(variables, "decoder")


def _variables(path: Path) -> dict[str, Array]:
    """The variables of CTranslate2's binary format (`ModelSpec._serialize`)."""
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
                value = from_bf16(value)
            variables[name] = value
        # Equal variables are stored once.
        for _ in range(number(4)):
            name = text()
            variables[name] = variables[text()]
        return variables
    except (LookupError, ValueError) as error:
        raise NotReadable(f"{path.name} cannot be read: {error}") from error
