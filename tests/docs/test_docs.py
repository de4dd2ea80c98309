"""The documentation keeps up: every route, setting, error code, option and variant is there."""

import dataclasses
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from config import Config
from scripts import address, env_example
from studio.analysis.options import AnalysisOptions
from studio.errors import all_errors
from studio.generation.catalogue import RELEASES as MUSICGEN_RELEASES
from studio.generation.options import GenerationOptions
from studio.inference.variants import BUNDLED
from studio.separation.catalogue import RELEASES
from studio.separation.options import SeparationOptions
from studio.transcription.catalogue import RELEASES as WHISPER_RELEASES
from studio.transcription.formats import FORMATS
from studio.transcription.options import TranscriptionOptions
from studio.web.remedies import REMEDIES
from tests.support.server import ROOT, Server

API = (ROOT / "docs" / "api.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
ERRORS = (ROOT / "docs" / "errors.md").read_text()
MODELS = (ROOT / "docs" / "models.md").read_text()
PAGES = sorted(
    page
    for folder in ("*.md", "docs/*.md", "pretrained/*/*.md", "samples/**/*.md", "studio/*.md")
    for page in ROOT.glob(folder)
)


def test_every_route_has_a_heading(server: Server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    headings = [line.replace("&lt;", "{").replace("&gt;", "}") for line in API.splitlines()]
    for path, methods in paths.items():
        for method in methods:
            wanted = f"## {method.upper()} {path}"
            assert any(line.startswith(wanted) for line in headings), wanted


def test_every_heading_is_a_route(server: Server) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    for method, path in re.findall(r"^## ([A-Z]+) (/\S+)$", API, re.M):
        known = path.replace("&lt;", "{").replace("&gt;", "}")
        assert method.lower() in paths[known]


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_every_setting_is_described(field: "dataclasses.Field[object]") -> None:
    row = re.search(rf"^\| `{field.name}` \| `(.*?)` \| (.*?) \|$", SETTINGS, re.M)
    assert row, f"{field.name} is missing in docs/settings.md"
    assert row[1] == (env_example.shown(field.default) or "(empty)")
    assert row[2] == field.metadata["help"]


def test_the_settings_are_described_by_section() -> None:
    headings_and_rows = re.findall(r"^(?:## (.*)|\| `([A-Z_]+)` \|.*)$", SETTINGS, re.M)
    described = [heading or name for heading, name in headings_and_rows]
    sections = env_example.sections()
    assert described == [
        part for title, fields in sections for part in (title, *[field.name for field in fields])
    ]


def test_the_example_of_env_has_every_setting() -> None:
    assert env_example.FILE.read_text("utf-8") == env_example.content()


def test_every_clone_command_has_the_address_of_pyproject() -> None:
    texts = {page: page.read_text("utf-8") for page in PAGES}
    cloning = {page for page, text in texts.items() if re.search(r"git clone https?://", text)}
    assert cloning == set(address.DOCUMENTS)
    assert all(address.with_address(texts[page]) == texts[page] for page in cloning)


def test_every_error_code_is_described() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \|$", ERRORS, re.M)
    assert rows == [
        (error.code, str(error.status), f"{error.title}. {REMEDIES[error.code]}")
        for error in all_errors()
    ]
    assert REMEDIES.keys() == {error.code for error in all_errors()}


@pytest.mark.parametrize("name", [BUNDLED, *RELEASES])
def test_every_variant_is_described(name: str) -> None:
    assert f"`{name}`" in MODELS


@pytest.mark.parametrize(
    ("model", "name"),
    [("Whisper", name) for name in (BUNDLED, *WHISPER_RELEASES)]
    + [("MusicGen", name) for name in (BUNDLED, *MUSICGEN_RELEASES)],
)
def test_every_variant_of_a_model_is_described(model: str, name: str) -> None:
    section = MODELS.partition(f"\n## {model}\n")[2].partition("\n## ")[0]
    assert re.search(rf"^\|.*`{re.escape(name)}`.*\|$", section, re.M)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("demucs", SeparationOptions),
        ("whisper", TranscriptionOptions),
        ("musicgen", GenerationOptions),
        ("analysis", AnalysisOptions),
    ],
)
def test_every_option_is_described(model: str, options: type[BaseModel]) -> None:
    table = API.partition(f"Options of `{model}`:\n\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", table, re.M))
    assert list(rows) == list(options.model_fields)
    for name, field in options.model_fields.items():
        # The command line shows the description too, and has no route for the list.
        meaning = rows[name].replace("list of models (`GET /models`)", "list of models")
        description = (field.description or "").partition(" Default: ")[0].rstrip(".")
        assert meaning.startswith(description), name


def test_every_format_of_a_transcript_is_described() -> None:
    table = API.partition("The track `transcription` of")[2]
    rows = re.findall(r"^\| ((?:`[\w.]+`,? ?)+) \|", table, re.M)
    assert {name for row in rows for name in re.findall(r"[\w.]+", row)} >= FORMATS.keys()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*?)#*$", text, re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in plain}


def broken_links(page: Path, text: str) -> list[str]:
    """Links in the text of a page to files and headings that do not exist."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text("utf-8")) == []


def test_broken_links_are_found() -> None:
    links = (
        "[a](docs/api.md) [b](docs/no.md) [c](docs/api.md#no) [d](#no) [e](https://x.example#no)"
    )
    assert broken_links(ROOT / "README.md", links) == ["docs/no.md", "docs/api.md#no", "#no"]


def comments_in_shell(text: str) -> list[str]:
    """Lines with a comment in the blocks that are pasted into a shell."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.M | re.S)
    lines = [line for language, block in blocks if language == "sh" for line in block.splitlines()]
    return [line for line in lines if re.search(r"(^|\s)#\s", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_pasted_into_zsh(page: Path) -> None:
    """Its interactive shell has no comments: they become arguments, and apostrophes open quotes."""
    assert comments_in_shell(page.read_text("utf-8")) == []


def test_comments_in_commands_are_found() -> None:
    block = "```sh\nmake run    # the server\n# git's copy\ncurl $URL/#top\n```\n# a heading\n"
    assert comments_in_shell(block) == ["make run    # the server", "# git's copy"]


def test_readme_shows_the_two_commands_first() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_make_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    for command in re.findall(r"^([a-z-]+):.*## ", makefile, re.M):
        if command != "help":
            assert f"| `make {command}` |" in readme


def test_readme_tells_the_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r"`([\w./-]+(?:\.py|/))`", readme):
        assert (ROOT / Path(name)).exists(), name


def test_the_product_has_one_name() -> None:
    assert (ROOT / "README.md").read_text().startswith("# Audio Studio\n")
    for page in (ROOT / "websocket-test.html", *(ROOT / "docs").glob("*.md")):
        assert "Audio studio" not in page.read_text("utf-8")
    assert "Audio Studio</title>" in (ROOT / "websocket-test.html").read_text("utf-8")
