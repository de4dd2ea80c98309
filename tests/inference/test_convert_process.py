"""What a conversion in a process of its own ends with reaches the one who asked for it."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.inference import graph_cache
from studio.inference.convert_process import convert_in_subprocess
from studio.inference.graph_cache import ConversionFailed, GraphCache, NotConvertible

MODULE = "tests.support.converting"


def identity() -> Any:
    """A network that returns what it is given."""
    import openvino
    from openvino import opset15 as ops

    given = ops.parameter([1], np.float32)
    return openvino.Model([ops.result(given)], [given], "identity")


def test_what_was_kept_is_there(tmp_path: Path) -> None:
    assert convert_in_subprocess(MODULE, tmp_path / "new", "kept")
    assert (tmp_path / "new" / "kept").is_file()


@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        ("refuses", NotConvertible, "^it is too odd$"),
        ("lacks weights", ValueError, "^KeyError: 'lm_heads.0.weight'$"),
        ("is killed", ConversionFailed, "was killed by signal 9"),
        ("breaks", RuntimeError, "exit status 1: RuntimeError: no such operation$"),
    ],
)
def test_the_reason_is_told(tmp_path: Path, how: str, kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        convert_in_subprocess(MODULE, tmp_path, how)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").mkdir()
    with caplog.at_level(logging.WARNING):
        assert not convert_in_subprocess(MODULE, tmp_path, "taken")
    assert "Is a directory" in caplog.text


def test_no_process_is_started_for_a_folder_that_cannot_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in its place")
    with caplog.at_level(logging.WARNING):
        assert not convert_in_subprocess(MODULE, tmp_path / "file", "kept")
    assert "cannot create the folder" in caplog.text


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".key-0a1b2c3d", tmp_path / ".key-4e5f6a7b"
    for folder in (old, young):
        folder.mkdir()
        (folder / "decoder.bin").write_bytes(bytes(100))
    long_ago_s = old.stat().st_mtime - graph_cache.UNFINISHED_S - 1
    os.utime(old, (long_ago_s, long_ago_s))
    GraphCache(tmp_path).add("other", {}, {})
    assert not old.exists()
    assert young.exists()


def test_graphs_that_nobody_has_read_for_a_month_are_deleted(tmp_path: Path) -> None:
    """Those for older versions of the packages; each update adds new ones."""
    cache = GraphCache(tmp_path)
    for key in ("old", "read", "new"):
        cache.add(key, {}, {"network": identity()})
    for key in ("old", "read"):
        a_month_ago_s = (tmp_path / key).stat().st_mtime - graph_cache.UNUSED_S - 1
        os.utime(tmp_path / key, (a_month_ago_s, a_month_ago_s))
    assert cache.find("read") is not None
    cache.add("newest", {}, {"network": identity()})
    assert {path.name for path in tmp_path.iterdir()} == {"read", "new", "newest"}


def test_kept_graphs_are_replaced_only_where_they_are_damaged(tmp_path: Path) -> None:
    """Another server may have kept the same graphs meanwhile, and reads them."""
    networks = {"same": identity()}
    cache = GraphCache(tmp_path)
    cache.add("key", {"by": "one"}, networks)
    cache.add("key", {"by": "another"}, networks)
    assert cache.find("key") == ({"by": "one"}, tmp_path / "key")
    (tmp_path / "key" / "same.xml").write_text("damaged")
    cache.add("key", {"by": "another"}, networks)
    assert cache.find("key") == ({"by": "another"}, tmp_path / "key")
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
