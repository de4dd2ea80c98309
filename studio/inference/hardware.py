"""The processor: its cores, and the instructions that decide which precision is fastest."""

import os
import platform
import sys
from functools import cache
from pathlib import Path

from studio.inference.openvino_import import import_openvino


@cache
def native_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 natively."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def processor_flags() -> frozenset[str]:
    """CPU flags from /proc/cpuinfo, such as `avx2`; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    return frozenset(
        flag
        for line in text.splitlines()
        if line.startswith("flags")
        for flag in line.partition(":")[2].split()
    )


def has_vnni() -> bool:
    """Whether the CPU has AVX-512 VNNI (fast 8-bit dot products)."""
    return "avx512_vnni" in processor_flags()


def overflows_in_8_bits() -> bool:
    """Whether the CPU adds pairs of 8-bit products in 16 bits, where they may overflow."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and not processor_flags() & {"avx512_vnni", "avx_vnni"}


def has_amx() -> bool:
    """Whether the CPU has AMX (fast bfloat16 matrix products)."""
    return "amx_bf16" in processor_flags()


def cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
