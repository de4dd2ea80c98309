"""`python -m bench.page`: how fast the studio is in Chromium, on a song of four minutes.

First paint with the processor four times slower, from opening to playing, long tasks while four
lanes play, and the memory of the page.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench import report
from tests.support.server import Server
from tests.support.sounds import RATE_HZ, write_wav

SONG_S = 240
PLAYED_S = 20
RUNS = 5
SLOWDOWN = 4
MB = 1e6
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
# Long tasks are those of more than 50 ms.
WATCH_TASKS = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
    .observe({ type: "longtask" });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        server = Server(Path(name)).start()
        try:
            lines = measured(server)
        finally:
            server.stop()
    print("\n".join(lines))
    if options.write:
        report.write("page", "Studio page", lines)


def measured(server: Server) -> list[str]:
    file_id = server.separate(write_wav(server.folder / "song.wav", song()))
    # The file of all stems is made when it is asked for first.
    server.get(f"/download/{file_id}/stems.flac")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=binary, args=arguments)
        version = browser.version
        paints_ms = [first_paint_ms(browser, server.url) for _ in range(RUNS)]
        opened = [play(browser, server.url, file_id) for _ in range(RUNS)]
        memory_mb, tasks_ms = long_play(browser, server.url, file_id)
        browser.close()
    starts_ms = [start_ms for start_ms, _ in opened]
    plays_ms = [play_ms for _, play_ms in opened]
    longest_ms = max(tasks_ms, default=0.0)
    return [
        f"Chromium {version}, without a window; a song of {SONG_S // 60} minutes with four stems. "
        f"Medians of {RUNS} runs.",
        "",
        "| what | goal | measured |",
        "|---|---|---|",
        f"| first paint, CPU {SLOWDOWN}x slower | 1000 ms | {np.median(paints_ms):.0f} ms |",
        f"| mixer opened until it can play | | {np.median(starts_ms):.0f} ms |",
        f"| from the press of play until the song moves | 300 ms | {np.median(plays_ms):.0f} ms |",
        f"| tasks over 50 ms in {PLAYED_S} s of playing | 0 | {len(tasks_ms)}, "
        f"longest {longest_ms:.0f} ms |",
        f"| memory of the page's process (PSS) | 250 MB | {memory_mb:.0f} MB |",
    ]


def song() -> Any:
    """Noise that swells and fades, float32 (2, samples)."""
    generator = np.random.default_rng(3)
    swell = 0.2 + 0.15 * np.sin(np.arange(SONG_S * RATE_HZ) / RATE_HZ)
    return (swell * generator.uniform(-1, 1, (2, SONG_S * RATE_HZ))).astype(np.float32)


def first_paint_ms(browser: Browser, url: str) -> float:
    """Until something is seen, with an empty cache."""
    with browser.new_context() as context:
        page = context.new_page()
        _tools(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
        page.goto(f"{url}/studio")
        page.locator(".drop").wait_for()
        while (paint_ms := page.evaluate(FIRST_PAINT)) is None:
            time.sleep(0.02)
        return float(paint_ms)


def play(browser: Browser, url: str, file_id: str) -> tuple[float, float]:
    """Milliseconds until the mixer can play, and from the press of play until time moves."""
    with browser.new_context() as context:
        page = context.new_page()
        began_s = time.perf_counter()
        page.goto(f"{url}/studio/{file_id}")
        page.locator(".lane canvas").nth(3).wait_for()
        opened_ms = 1000 * (time.perf_counter() - began_s)
        played_ms: float = page.evaluate(
            """() => new Promise((resolve) => {
              const began = performance.now();
              const at = () => document.querySelector(".lanes").style.getPropertyValue("--at");
              const before = at();
              const look = () => at() === before ? requestAnimationFrame(look)
                : resolve(performance.now() - began);
              document.querySelector(".transport .primary").click();
              look();
            })"""
        )
        return opened_ms, played_ms


def long_play(browser: Browser, url: str, file_id: str) -> tuple[float, list[float]]:
    """Megabytes of the page's process, and milliseconds of long tasks, while it plays."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/studio/{file_id}")
        page.locator(".lane canvas").nth(3).wait_for()
        page.locator(".transport .primary").click()
        page.evaluate(WATCH_TASKS)
        time.sleep(PLAYED_S)
        tools = browser.new_browser_cdp_session()
        processes = tools.send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = [psutil.Process(one["id"]) for one in processes if one["type"] == "renderer"]
        largest = max(one.memory_full_info().pss for one in renderers)
        return largest / MB, list(page.evaluate("window.tasks"))


def _tools(page: Page) -> CDPSession:
    return page.context.new_cdp_session(page)


if __name__ == "__main__":
    main()
