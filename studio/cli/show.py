"""What commands show: progress bars for people, lines of JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from studio.inference.transfer import OnTransfer, Transfer
from studio.jobs.job import Report


class Display(Protocol):
    """Shows what a command does. `result` is the result of the job."""

    def download(self, name: str) -> AbstractContextManager[OnTransfer]:
        """Show the progress of a download, if there is one."""

    def progress(self, name: str) -> AbstractContextManager[Report]: ...

    def done(
        self, source: str, outputs: list[Path], variant: str, result: dict[str, Any]
    ) -> None: ...

    def remark(self, source: str, note: str) -> None:
        """Show a note about a source."""

    def skipped(self, source: str, outputs: list[Path]) -> None: ...

    def failed(self, source: str, code: str, sentence: str) -> None: ...

    def summary(self, done: int, skipped: int, failed: int) -> None: ...

    def models(self, models: dict[str, Any]) -> None:
        """Show the variants of all models, and where their weights are."""


class Records:
    """A display for programs: `emit` is called with an object for each event."""

    def __init__(self, emit: Callable[[dict[str, Any]], None]) -> None:
        self._emit = emit

    @contextmanager
    def download(self, name: str) -> Iterator[OnTransfer]:
        yield lambda _transfer: None

    @contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        yield lambda _stage, _progress: None

    def done(self, source: str, outputs: list[Path], variant: str, result: dict[str, Any]) -> None:
        record = {"status": "done", "source": source, "outputs": _texts(outputs)}
        self._emit({**record, "variant": variant, "result": result})

    def remark(self, source: str, note: str) -> None:
        self._emit({"status": "note", "source": source, "note": note})

    def skipped(self, source: str, outputs: list[Path]) -> None:
        self._emit({"status": "skipped", "source": source, "outputs": _texts(outputs)})

    def failed(self, source: str, code: str, sentence: str) -> None:
        self._emit({"status": "failed", "source": source, "code": code, "error": sentence})

    def summary(self, done: int, skipped: int, failed: int) -> None:
        self._emit({"status": "summary", "done": done, "skipped": skipped, "failed": failed})

    def models(self, models: dict[str, Any]) -> None:
        self._emit({"models": models})


class Screen:
    """A display for people: bars on a terminal; on a pipe, only results and errors."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def download(self, name: str) -> Iterator[OnTransfer]:
        """Show a bar with bytes, speed and remaining time once the size is known."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("downloading {task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        bars = Progress(*columns, console=self._console)

        def show(transfer: Transfer) -> None:
            if not self._console.is_terminal or not transfer.total_bytes:
                return
            if not bars.tasks:
                bars.start()
                bars.add_task(name, total=transfer.total_bytes)
            bars.update(bars.tasks[0].id, completed=transfer.done_bytes)

        try:
            yield show
        finally:
            # Stopping prints a line break, even if the bar was never shown.
            if bars.tasks:
                bars.stop()

    @contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        """A report that moves a bar."""
        if not self._console.is_terminal:
            yield lambda _stage, _progress: None
            return
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[stage]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            bar = bars.add_task(name, total=1.0, stage="")

            def report(stage: str, progress: float) -> None:
                bars.update(bar, completed=progress, stage=stage)

            yield report

    def done(self, source: str, outputs: list[Path], variant: str, result: dict[str, Any]) -> None:
        seconds = f" in {result['elapsed_s']:.1f} s" if "elapsed_s" in result else ""
        self._console.print(f"{source}: {', '.join(_texts(outputs))}{seconds}", markup=False)
        if note := result.get("note"):
            self._console.print(f"  {note}", markup=False)

    def remark(self, source: str, note: str) -> None:
        self._errors.print(f"{source}: {note}", markup=False)

    def skipped(self, source: str, outputs: list[Path]) -> None:
        self._console.print(f"{source}: already done", markup=False)

    def failed(self, source: str, code: str, sentence: str) -> None:
        self._errors.print(f"{source}: {sentence}", markup=False)

    def summary(self, done: int, skipped: int, failed: int) -> None:
        if done + skipped + failed > 1:
            self._console.print(f"{done} done, {skipped} already done, {failed} failed")

    def models(self, models: dict[str, Any]) -> None:
        for name, model in models.items():
            self._console.print(f"{name}: {model['purpose']}", markup=False)
            for variant, about in model["variants"].items():
                size = about["size_bytes"]
                megabytes = f"{size / 1e6:,.0f} MB" if size else ""
                default = " (default)" if variant == model["default"] else ""
                self._console.print(
                    f"  {variant + default:24} {about['weights']:10} {megabytes:>9}  "
                    f"{about['purpose']}",
                    markup=False,
                )


def write_line(record: dict[str, Any]) -> None:
    """Print an object as a line of JSON."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _texts(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
