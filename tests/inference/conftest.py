"""A machine that has a driver, for tests of the choice of a device."""

from pathlib import Path

import pytest

from studio.inference import devices


@pytest.fixture
def with_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with a driver's device file, and no device behind it."""
    there = tmp_path / "nvidiactl"
    there.touch()
    monkeypatch.setattr(devices, "DRIVERS", (str(there),))
    monkeypatch.setattr(devices, "_refusals", {})
