"""Who may import whom: the order of the layers is kept, and starting stays light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT

FRONT_DOORS = {"app", "config", "models", "production"}
HEAVY = {"torch", "demucs", "openvino", "ctranslate2", "transformers", "faster_whisper", "whisper"}
WEB_ONLY = {
    "flask", "flask_cors", "flask_socketio", "werkzeug", "socketio", "engineio",
}  # fmt: skip
GUARD = "studio.audio.child"
# It starts this Python again, with a module of its own.
CONVERSION = "studio.inference.convert_process"
FAMILIES = ("separation", "transcription", "generation")
LAYERS = (
    ("studio", "studio.errors", "studio.logs", "studio.slots"),
    ("studio.audio",),
    ("studio.inference", "studio.storage"),
    ("studio.jobs",),
    ("studio.results", "studio.sources"),
    tuple(f"studio.{family}" for family in FAMILIES),
    ("studio.processor", "config"),
    ("models",),
    ("studio.web",),
    ("app",),
    ("production",),
)
"""A module imports modules of its own layer and of those above it in this list."""


def sources() -> dict[str, Path]:
    """Dotted name -> file, of the whole program (without tests, scripts and training)."""
    files = [ROOT / f"{name}.py" for name in FRONT_DOORS if (ROOT / f"{name}.py").is_file()]
    files += (ROOT / "studio").rglob("*.py")
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted(files)
    }


SOURCES = sources()


def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text("utf-8"))


def names(node: ast.stmt) -> Iterator[str]:
    """Dotted names that an import statement may load; modules of the program in full."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        known = [name for name in inner if name in SOURCES]
        yield from known
        if len(known) < len(inner):
            yield str(node.module)


def imported(module: str) -> set[str]:
    """All that a module imports, at any depth of its code."""
    return {
        name
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in names(node)
    }


def imported_at_once(node: ast.AST) -> set[str]:
    """What is imported while a module is imported: not in functions, not for types only."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            found |= set(names(child))
        found |= imported_at_once(child)
    return found


def top(name: str) -> str:
    return name.partition(".")[0]


def layer(module: str) -> int:
    """The number of a module's layer in LAYERS; only lower ones may be imported."""
    package = ".".join(module.split(".")[:2])
    found = [number for number, names in enumerate(LAYERS) if package in names]
    assert found, f"{module} has no place in the order of layers"
    return found[0]


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_its_own_layer_and_lower_ones(module: str) -> None:
    upwards = {name for name in imported(module) if name in SOURCES and layer(name) > layer(module)}
    assert not upwards


def test_a_model_family_imports_no_other() -> None:
    for module in SOURCES:
        families = [name for name in FAMILIES if module.startswith(f"studio.{name}")]
        for name in imported(module):
            if families and name.split(".")[0] == "studio":
                assert name.split(".")[1] not in set(FAMILIES) - set(families), (module, name)


@pytest.mark.parametrize("module", [name for name in SOURCES if top(name) == "studio"])
def test_the_engine_room_knows_no_front_door_and_no_environment(module: str) -> None:
    assert not {top(name) for name in imported(module)} & (FRONT_DOORS | {"dotenv"})
    from_os = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            from_os.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            from_os |= {alias.name for alias in node.names}
    assert not from_os & {"environ", "getenv", "environb", "putenv"}


@pytest.mark.parametrize("module", [n for n in SOURCES if top(n) not in ("app", "production")])
def test_only_the_web_knows_flask(module: str) -> None:
    if not module.startswith("studio.web"):
        assert not {top(name) for name in imported(module)} & WEB_ONLY


def test_the_web_knows_the_models_only_as_it_is_handed_them() -> None:
    for module in SOURCES:
        if module.startswith("studio.web"):
            assert "models" not in {top(name) for name in imported(module)}


@pytest.mark.parametrize("module", [name for name in SOURCES if name not in (GUARD, CONVERSION)])
def test_one_module_runs_programs_and_one_this_python(module: str) -> None:
    assert not {top(name) for name in imported(module)} & {
        "subprocess",
        "multiprocessing",
        "pty",
        "imageio_ffmpeg",
    }
    code = ast.unparse(without_docstrings(tree(module)))
    for way in ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.fork"):
        assert way not in code


@pytest.mark.parametrize("module", [n for n in SOURCES if not n.startswith("studio.audio")])
def test_only_the_audio_package_knows_ffmpeg_and_writes_sound(module: str) -> None:
    assert not {top(name) for name in imported(module)} & {"soundfile", "torchaudio", "wave"}
    assert "ffmpeg" not in ast.unparse(without_docstrings(tree(module)))


def without_docstrings(module: ast.Module) -> ast.Module:
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                line
                for line in body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("module", SOURCES)
def test_no_model_library_is_imported_with_a_module(module: str) -> None:
    assert not {top(name) for name in imported_at_once(tree(module))} & HEAVY


@pytest.mark.parametrize("module", [n for n in SOURCES if n != "studio.inference.openvino_import"])
def test_one_module_imports_openvino(module: str) -> None:
    assert "openvino" not in {top(name) for name in imported(module)}


@pytest.mark.parametrize("module", SOURCES)
def test_importing_a_module_does_nothing(module: str) -> None:
    """On its top level a module only defines: no call stands there as a statement."""
    for line in tree(module).body:
        calls = isinstance(line, ast.Expr) and isinstance(line.value, ast.Call)
        assert not calls, f"{module}:{line.lineno} acts"
        assert not isinstance(line, ast.For | ast.While | ast.With), f"{module}:{line.lineno}"


def test_there_are_no_cycles() -> None:
    graph = {module: imported(module) & SOURCES.keys() for module in SOURCES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for below in sorted(graph[module] - {module}):
                visit(below, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_the_application_loads_no_model_library_and_starts_nothing(
    tmp_path: Path,
) -> None:
    """In a fresh interpreter, with folders that would show it if something was made there."""
    code = (
        "import sys, threading; before = threading.active_count(); import app, config, models; "
        f"print(sorted({HEAVY!r} & set(sys.modules)), threading.active_count() - before)"
    )
    environment = {
        **os.environ,
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "OUTPUT_FOLDER": str(tmp_path / "outputs"),
        "PORT": "not read at import",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[] 0"
    assert list(tmp_path.iterdir()) == []


def test_the_reader_of_imports_sees_what_it_must() -> None:
    """The checks above would notice: their reader finds imports at every depth."""
    code = ast.parse(
        "import a.b\nfrom studio import audio\nfrom studio.errors import StudioError\n"
        "def f():\n    import late\nclass C:\n    import early\nif True:\n    import also\n"
    )
    assert imported_at_once(code) == {"a.b", "studio.audio", "studio.errors", "early", "also"}
    assert "torch" in imported("studio.separation.torch_engine")
    assert "subprocess" in imported(GUARD)
