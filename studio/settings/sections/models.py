"""Models and engines."""

from dataclasses import dataclass

from studio.settings import values
from studio.settings.table import setting


@dataclass(frozen=True)
class Models:
    """Models and engines."""

    DEVICE: str = setting(
        "auto",
        values.device,
        "Device for all models: auto (a working CUDA device, otherwise the CPU), cpu, cuda, "
        "cuda:N for the GPU with that index, or mps for the GPU of a Mac (not Whisper).",
    )
    TORCH_THREADS: int = setting(
        0, values.integer(0, 1024), "Threads per network; 0: chosen by the engine."
    )
    MODEL_IDLE_S: int = setting(
        600, values.integer(1, 10**9), "Seconds after which an unused model is unloaded."
    )
    DEMUCS_MODEL: str = setting("htdemucs", values.name, "Default Demucs variant.")
    SEPARATION_ENGINE: str = setting(
        "auto",
        values.one_of("auto", "torch", "openvino"),
        "Engine for Demucs: auto (the fastest available), torch or openvino.",
    )
    SEPARATION_PRECISION: str = setting(
        "auto",
        values.one_of("auto", "f32", "bf16"),
        "Precision of Demucs on OpenVINO: auto (bf16 if the CPU supports it), f32 or bf16.",
    )
    WHISPER_MODEL: str = setting("base", values.name, "Default Whisper variant.")
    WHISPER_ENGINE: str = setting(
        "faster-whisper",
        values.one_of("faster-whisper", "openai-whisper"),
        "Engine for Whisper: faster-whisper, or openai-whisper if it is installed.",
    )
    WHISPER_RUNTIME: str = setting(
        "auto",
        values.one_of("auto", "ctranslate2", "openvino"),
        "Runtime of faster-whisper on a CPU: auto (OpenVINO on CPUs with AVX-512 VNNI, "
        "otherwise CTranslate2), ctranslate2 or openvino.",
    )
    MUSICGEN_MODEL: str = setting("small", values.name, "Default MusicGen variant.")
    MUSICGEN_ENGINE: str = setting(
        "auto",
        values.one_of("auto", "torch", "openvino"),
        "Engine for MusicGen: auto (the fastest available), torch or openvino.",
    )
    MUSICGEN_PRECISION: str = setting(
        "auto",
        values.one_of("auto", "int8", "int4", "bf16", "f32"),
        "Precision of MusicGen on OpenVINO: auto or int8 (8-bit weights), int4, bf16 or f32.",
    )
