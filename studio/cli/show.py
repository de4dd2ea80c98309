"""What the command line shows: progress bars for people, lines of JSON for programs."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.jobs.job import Report


class Screen:
    """Bars on a terminal; on a pipe only what was written and what failed; JSON where asked for."""

    def __init__(self, is_json: bool) -> None:
        from rich.console import Console

        self._is_json = is_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, name: str) -> Iterator[Report]:
        """A report that moves a bar."""
        if self._is_json or not self._console.is_terminal:
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

    def done(self, source: str, outputs: list[Path], result: dict[str, Any]) -> None:
        """What was written for a file. `result` has what the job says of it."""
        if self._is_json:
            self._line(status="done", source=source, outputs=_texts(outputs), result=result)
            return
        seconds = f" in {result['elapsed_s']:.1f} s" if "elapsed_s" in result else ""
        self._console.print(f"{source}: {', '.join(_texts(outputs))}{seconds}", markup=False)
        if note := result.get("note"):
            self._console.print(f"  {note}", markup=False)

    def remark(self, source: str, note: str) -> None:
        """What the user should know about a source."""
        if self._is_json:
            self._line(status="note", source=source, note=note)
        else:
            self._errors.print(f"{source}: {note}", markup=False)

    def skipped(self, source: str, outputs: list[Path]) -> None:
        if self._is_json:
            self._line(status="skipped", source=source, outputs=_texts(outputs))
        else:
            self._console.print(f"{source}: already done", markup=False)

    def failed(self, source: str, code: str, sentence: str) -> None:
        if self._is_json:
            self._line(status="failed", source=source, code=code, error=sentence)
        else:
            self._errors.print(f"{source}: {sentence}", markup=False)

    def summary(self, done: int, skipped: int, failed: int) -> None:
        if self._is_json:
            self._line(status="summary", done=done, skipped=skipped, failed=failed)
        elif done + skipped + failed > 1:
            self._console.print(f"{done} done, {skipped} already done, {failed} failed")

    def models(self, models: dict[str, Any]) -> None:
        """The variants of all models, and where their weights are."""
        if self._is_json:
            self._line(models=models)
            return
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

    def _line(self, **values: Any) -> None:
        sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _texts(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
