"""Understands prompts with the text encoder of a model, in PyTorch: it runs once a track."""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from studio.audio import Sound
from studio.generation import parts
from studio.generation.model import States


class TextListener:
    """Text to states; for models with melody, one pitch class a frame goes before the text."""

    def __init__(self, folder: Path, config: Any) -> None:
        import torch
        from tokenizers import Tokenizer

        self.takes_melody = config.model_type == parts.MELODY
        self._tokenizer = Tokenizer.from_file(str(folder / parts.TOKENIZER))
        unknown = self._tokenizer.token_to_id(parts.unknown_word(folder))
        self._unknown = -1 if unknown is None else unknown
        self._lock = Lock()
        self._encoder = parts.read_part(folder, "text_encoder", config)
        self._project = _linear(folder, "enc_to_dec_proj.")
        self._melody_frames = int(config.chroma_length) if self.takes_melody else 0
        self._project_melody = _linear(folder, "audio_enc_to_dec_proj.")
        self._torch = torch

    def unknown_share(self, prompt: str) -> float:
        ids = self._ids(prompt)[:-1]
        return ids.count(self._unknown) / max(1, len(ids))

    def states(self, prompt: str, melody: Sound | None) -> States:
        torch = self._torch
        with torch.inference_mode():
            ids = torch.tensor([self._ids(prompt)])
            with self._lock:
                text = self._encoder(input_ids=ids).last_hidden_state
            text = text if self._project is None else self._project(text)
            branches = [text, torch.zeros_like(text)]
            if self.takes_melody:
                branches = [
                    torch.cat([self._heard(sound), states], dim=1)
                    for sound, states in zip((melody, None), branches, strict=True)
                ]
            states: States = torch.cat(branches).numpy()
            return states

    def _ids(self, prompt: str) -> list[int]:
        return list(self._tokenizer.encode(prompt).ids)

    def _heard(self, melody: Sound | None) -> Any:
        """The melody as states; without one it is the first pitch class all along."""
        torch = self._torch
        if melody is None:
            melody = np.zeros((12, 1), np.float32)
            melody[0] = 1.0
        places = np.arange(self._melody_frames) % melody.shape[1]
        chroma = torch.from_numpy(np.ascontiguousarray(melody[:, places].T))[None]
        return chroma if self._project_melody is None else self._project_melody(chroma)


def _linear(folder: Path, prefix: str) -> Any:
    """A linear layer of the model; None where it has none of that name."""
    import torch

    state = parts.read_state(folder, prefix)
    if not state:
        return None
    layer = torch.nn.Linear(state["weight"].shape[1], state["weight"].shape[0])
    layer.load_state_dict(state)
    return layer.requires_grad_(False)
