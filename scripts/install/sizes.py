"""How much is downloaded, in MB (10**6 bytes)."""

from __future__ import annotations

import platform

# The downloads as `python -m scripts.platforms` measures them, on Linux without PyTorch, which has
# several builds there. Below, those that `--dev` adds; on Linux x86_64 they include Triton.
OTHERS_MB = {
    ("Linux", "x86_64"): 350,
    ("Linux", "aarch64"): 283,
    ("Darwin", "arm64"): 295,
}
DEV_MB = {("Linux", "x86_64"): 440}
DEV_ELSEWHERE_MB = 245
# PyTorch's CUDA build, and cuBLAS 12 for Whisper.
CUDA_MB = 2700
CUBLAS_MB = 580


def packages_mb(gpu: bool, dev: bool, has_setup: bool = False) -> int:
    """The download of all packages but PyTorch on Linux; `has_setup`: only what `--dev` adds."""
    computer = (platform.system(), platform.machine())
    setup_mb = OTHERS_MB.get(computer, max(OTHERS_MB.values())) + gpu * CUBLAS_MB
    dev_mb = DEV_MB.get(computer, DEV_ELSEWHERE_MB)
    return (not has_setup) * setup_mb + dev * dev_mb
