"""The table of platforms: which wheel is taken, and whether the document says what is true."""

import re
import urllib.request

import pytest

from scripts import platforms
from scripts.install import sizes
from scripts.platforms import PLATFORMS, PYTHONS, best, ranks

LINUX, ARM, MAC = PLATFORMS
TABLE = platforms.DOCUMENT.read_text("utf-8").partition(platforms.BEGIN)[2]
TABLE = TABLE.partition(platforms.END)[0]
FILES = {
    "one-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": 1,
    "one-1.0-cp311-cp311-manylinux_2_35_aarch64.whl": 2,
    "one-1.0-cp311-cp311-macosx_11_0_arm64.whl": 3,
    "one-1.0-cp39-abi3-macosx_11_0_arm64.whl": 4,
    "one-1.0-py3-none-any.whl": 5,
    "one-1.0-cp311-cp311-manylinux_2_39_x86_64.whl": 6,
    "one-2.0-cp311-cp311-manylinux_2_17_x86_64.whl": 7,
    "one-1.0.tar.gz": 8,
}


@pytest.mark.parametrize(
    ("platform", "python", "size"),
    [
        (LINUX, (3, 11), 1),
        (ARM, (3, 11), 2),
        (MAC, (3, 11), 3),
        (MAC, (3, 14), 4),
        (LINUX, (3, 12), 5),
    ],
)
def test_the_wheel_that_pip_would_take(
    platform: platforms.Platform, python: tuple[int, int], size: int
) -> None:
    assert best(FILES, "1.0", ranks(platform, python)) == size


def test_a_package_without_a_wheel_is_found() -> None:
    files = {name: size for name, size in FILES.items() if "aarch64" not in name}
    del files["one-1.0-py3-none-any.whl"]
    assert best(files, "1.0", ranks(ARM, (3, 11))) is None


def test_the_document_has_all_platforms() -> None:
    for platform in PLATFORMS:
        for python in PYTHONS:
            assert f"| {platform.title} | {python[0]}.{python[1]} | " in TABLE
    assert "not possible" not in TABLE


@pytest.mark.parametrize(
    ("row", "system", "machine"),
    [
        (LINUX, "Linux", "x86_64"),
        (ARM, "Linux", "aarch64"),
        (MAC, "Darwin", "arm64"),
    ],
    ids=lambda one: getattr(one, "uv", one),
)
def test_set_up_prints_the_size_in_the_table(
    monkeypatch: pytest.MonkeyPatch, row: platforms.Platform, system: str, machine: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = re.search(rf"^\| {row.title} \| 3.11 \| (\d+) MB \|.*?\| (?:(\d+) MB)? \|", TABLE, re.M)
    assert found is not None
    # Only on Linux is PyTorch installed by a command of its own.
    own = found[1] if system == "Linux" else found[2]
    assert int(own) == pytest.approx(sizes.packages_mb(gpu=False, dev=False), rel=0.05)


def test_sizes_grow_with_what_is_chosen() -> None:
    setup_mb = sizes.packages_mb(gpu=False, dev=False)
    dev_mb = sizes.packages_mb(gpu=False, dev=True)
    assert sizes.packages_mb(gpu=True, dev=False) == setup_mb + sizes.CUBLAS_MB
    assert sizes.packages_mb(gpu=False, dev=True, has_setup=True) == dev_mb - setup_mb > 0
    document = platforms.DOCUMENT.read_text("utf-8")
    found = re.search(r"cuBLAS 12 for Whisper \(([\d.]+) GB in all\)", document)
    assert found is not None
    in_all_mb = sizes.OTHERS_MB["Linux", "x86_64"] + sizes.CUDA_MB + sizes.CUBLAS_MB
    assert float(found[1]) == pytest.approx(in_all_mb / 1000, rel=0.05)


def test_a_computer_without_a_gpu_downloads_little() -> None:
    found = re.search(rf"^\| {LINUX.title} \| 3.11 \|.*\| (\d+) MB \|", TABLE, re.M)
    assert found is not None
    assert int(found[1]) <= 600


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda one: one.uv)
def test_all_packages_have_a_build(platform: platforms.Platform) -> None:
    """With the newest Python; `python -m scripts.platforms` checks all of them."""
    try:
        urllib.request.urlopen(platforms.INDEX, timeout=10).close()
    except OSError as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    row = platforms.row(platform, PYTHONS[-1])
    assert row.missing == ()
    assert row.engines == tuple(platforms.ENGINES.values())
