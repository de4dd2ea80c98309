"""Speech from libespeak-ng, together with the time of every word and of every phoneme.

The program `espeak-ng` gives no times, the library does, through events. The library keeps its
state in globals, so use one `Speaker` per process.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_RETRIEVAL, _PHONEME_EVENTS, _DONT_EXIT = 1, 0x0001, 0x8000
_WORD, _PHONEME = 1, 7
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_UTF8 = 1


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass
class Manner:
    """How a voice speaks; `pitch` and `pitch_range` from 0 to 100, 50 is the voice's own."""

    words_per_minute: int = 160
    pitch: int = 50
    pitch_range: int = 50
    word_gap_s: float = 0.0


@dataclass
class Speech:
    """`words` and `phonemes` are (character position or name, start in s)."""

    samples: npt.NDArray[np.int16]
    words: list[tuple[int, float]] = field(default_factory=list)
    phonemes: list[tuple[str, float]] = field(default_factory=list)


class Speaker:
    """One process's access to the library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._callback = _CALLBACK(self._receive)
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._speech = Speech(np.zeros(0, np.int16))
        options = _PHONEME_EVENTS | _DONT_EXIT
        self.rate_hz: int = self._library.espeak_Initialize(_RETRIEVAL, 200, None, options)
        if self.rate_hz <= 0:
            raise RuntimeError("libespeak-ng does not start; is espeak-ng-data installed?")
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, manner: Manner) -> Speech:
        """Speak a text; raises ValueError for an unknown voice."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in (
            (_RATE, manner.words_per_minute),
            (_PITCH, manner.pitch),
            (_RANGE, manner.pitch_range),
            (_WORD_GAP, round(manner.word_gap_s * 100)),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._speech = [], Speech(np.zeros(0, np.int16))
        encoded = text.encode()
        self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None
        )
        self._library.espeak_Synchronize()
        self._speech.samples = np.concatenate([np.zeros(0, np.int16), *self._chunks])
        return self._speech

    def _receive(
        self,
        wave: ctypes.Array[ctypes.c_short],
        count: int,
        events: ctypes.Array[_Event],
    ) -> int:
        if count > 0 and wave:
            self._chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != 0:
            event = events[index]
            start_s = event.audio_position / 1000
            if event.type == _WORD and event.text_position > 0:
                self._speech.words.append((event.text_position - 1, start_s))
            elif event.type == _PHONEME:
                name = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
                self._speech.phonemes.append((name.decode(), start_s))
            index += 1
        return 0
