"""The PyTorch engine: runs a network of the demucs package as it is."""

from typing import Any

import numpy as np

from studio.audio import Sound
from studio.separation.network import Bag, Member, Stems


class TorchNetwork:
    """A Demucs, HDemucs or HTDemucs module behind the `Network` protocol."""

    def __init__(self, module: Any, device: str) -> None:
        self._module = module.to(device).eval()
        self._device = device
        self.segment_samples = int(module.samplerate * module.segment)

    def window_samples(self, length: int) -> int:
        if hasattr(self._module, "valid_length"):
            return int(self._module.valid_length(length))
        return length

    def __call__(self, window: Sound) -> Stems:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(self._device)
            stems: Stems = self._module(batch)[0].float().cpu().numpy()
            return stems


def torch_bag(modules: list[Any], weights: list[list[float]] | None, threads: int) -> Bag:
    """A bag of loaded modules; `threads` of PyTorch, 0 for its own choice.

    Raises ValueError where the modules do not belong together, or the weights not to them.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first = modules[0]
    weights = weights or [[1.0] * len(first.sources) for _ in modules]
    kinds = {(tuple(m.sources), m.samplerate, m.audio_channels) for m in modules}
    if len(kinds) > 1:
        raise ValueError("the networks of the bag differ in their stems, rate or channels")
    if [len(row) for row in weights] != [len(first.sources)] * len(modules):
        raise ValueError("the bag needs a row of weights for each network, one for each stem")
    if not all(sum(column) > 0 for column in zip(*weights, strict=True)):
        raise ValueError("the bag has no weight for one of its stems")
    members = tuple(
        Member(TorchNetwork(module, device), tuple(map(float, member_weights)))
        for module, member_weights in zip(modules, weights, strict=True)
    )
    return Bag(members, tuple(first.sources), int(first.samplerate), int(first.audio_channels))
