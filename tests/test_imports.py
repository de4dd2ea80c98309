"""Who may import whom: the order of the layers is kept, and starting stays light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.server import ROOT

FRONT_DOORS = {"app", "background", "config", "core", "models", "production"}
# Front doors inside the package: `python -m studio`, and the functions for Python programs.
INNER_DOORS = {"studio.__main__", "studio.library"}
IMPORTED_BY_ONE = {
    "openvino": "studio.inference.openvino_import",
    "faster_whisper": "studio.transcription.faster_whisper_import",
}
HEAVY = {"torch", "demucs", "openvino", "ctranslate2", "transformers", "faster_whisper", "whisper"}
# What servers on one machine neither have nor import.
SCALE = {"psycopg", "psycopg_pool", "procrastinate", "boto3", "botocore"}
HEAVY |= SCALE
WEB_ONLY = {
    "flask", "flask_cors", "flask_socketio", "werkzeug", "socketio", "engineio",
}  # fmt: skip
GUARD = "studio.audio.child"
# It starts this Python again, with a module of its own.
CONVERSION = "studio.inference.convert_process"
FAMILIES = ("separation", "transcription", "generation", "analysis")
LAYERS = (
    ("studio", "studio.errors", "studio.logs", "studio.concurrency", "studio.settings"),
    ("studio.audio",),
    ("studio.inference", "studio.storage"),
    ("studio.jobs",),
    ("studio.results", "studio.sources", "studio.family"),
    tuple(f"studio.{family}" for family in FAMILIES),
    ("studio.processor", "studio.processors", "studio.karaoke", "config"),
    ("models",),
    ("studio.web", "studio.cli"),
    ("core",),
    ("app",),
    ("background",),
    ("production",),
)
"""A module imports modules of its own layer and of those above it in this list."""
MAKES_A_VALUE = {
    "bytes", "datetime", "frozenset", "list", "range", "round", "sorted", "str", "tuple",
    "fromhex", "fromkeys", "items", "split", "resolve",
    "compile", "float32", "getLogger", "ip_network", "local",
    "dataclass", "field", "field_validator", "mapped_column", "model_validator", "operation",
    "integer", "one_of", "other_protocol", "text", "secret", "setting",
}  # fmt: skip
"""Functions that may be called while a module is imported: they only make a value."""
SAYS_NOTHING = {"found", "one", "thing", "told"}
"""Names that do not say what a parameter or a variable holds."""


def sources() -> dict[str, Path]:
    """Dotted name -> file, of the whole program (without tests, scripts and training)."""
    files = [ROOT / f"{name}.py" for name in FRONT_DOORS if (ROOT / f"{name}.py").is_file()]
    files += (ROOT / "studio").rglob("*.py")
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted(files)
    }


SOURCES = sources()


@cache
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


@cache
def imported(module: str) -> set[str]:
    """All that a module imports, at any depth of its code, but not for types only."""
    return {
        name
        for node in walk_code(tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in names(node)
    }


def walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, without those that only type checkers read."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk_code(child)


def imported_at_once(node: ast.AST) -> set[str]:
    """What is imported while a module is imported: not in functions, not for types only."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            found |= set(names(child))
        found |= imported_at_once(child)
    return found


def top(name: str) -> str:
    return name.partition(".")[0]


def packages(module: str) -> set[str]:
    """The packages of which a module imports anything."""
    return {top(name) for name in imported(module)}


def layer(module: str) -> int:
    """The number of a module's layer in LAYERS; only lower ones may be imported."""
    package = ".".join(module.split(".")[:2])
    if module in INNER_DOORS:
        return len(LAYERS)
    found = [number for number, names in enumerate(LAYERS) if package in names]
    assert found, f"{module} has no place in the order of layers"
    return found[0]


def test_a_module_imports_its_own_layer_and_lower_ones() -> None:
    for module in SOURCES:
        known = imported(module) & SOURCES.keys()
        upwards = {name for name in known if layer(name) > layer(module)}
        assert not upwards, module


def test_a_model_family_imports_no_other() -> None:
    for module in SOURCES:
        families = [name for name in FAMILIES if module.startswith(f"studio.{name}")]
        for name in imported(module):
            if families and name.split(".")[0] == "studio":
                assert name.split(".")[1] not in set(FAMILIES) - set(families), (module, name)


def test_the_engine_room_knows_no_front_door_and_no_environment() -> None:
    for module in SOURCES:
        if top(module) != "studio" or module in INNER_DOORS:
            continue
        assert not packages(module) & (FRONT_DOORS | {"dotenv"}), module
        # It sets a variable for a library.
        allowed = {"environ"} if module == "studio.inference.process" else set()
        found = used_of_os(module) & {"environ", "getenv", "environb", "putenv"}
        assert not found - allowed, module


def used_of_os(module: str) -> set[str]:
    """Names of the module `os` that a module uses."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                names.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names |= {alias.name for alias in node.names}
    return names


def test_only_the_web_knows_flask() -> None:
    for module in SOURCES:
        if top(module) not in ("app", "production") and not module.startswith("studio.web"):
            assert not packages(module) & WEB_ONLY, module


def test_the_web_knows_the_models_only_as_it_is_handed_them() -> None:
    for module in SOURCES:
        if module.startswith("studio.web"):
            assert "models" not in packages(module), module


def test_one_module_runs_programs_and_one_this_python() -> None:
    for module in SOURCES.keys() - {GUARD, CONVERSION}:
        found = packages(module) & {"subprocess", "multiprocessing", "pty", "imageio_ffmpeg"}
        assert not found, module
        code = code_of(module)
        for way in ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.fork"):
            assert way not in code, module


def test_only_the_audio_package_knows_ffmpeg_and_writes_sound() -> None:
    for module in SOURCES:
        if not module.startswith("studio.audio"):
            assert not packages(module) & {"soundfile", "torchaudio", "wave"}, module
            assert "ffmpeg" not in code_of(module), module


@cache
def code_of(module: str) -> str:
    """Its code without comments and docstrings."""
    return ast.unparse(without_docstrings(ast.parse(SOURCES[module].read_text("utf-8"))))


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


def test_no_model_library_is_imported_with_a_module() -> None:
    for module in SOURCES:
        assert not {top(name) for name in imported_at_once(tree(module))} & HEAVY, module


def run_at_import(node: ast.AST) -> Iterator[ast.stmt | ast.Call]:
    """Statements and calls that run while a module is imported: not those inside of functions."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        outside = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        if not isinstance(node, ast.Lambda):
            outside += node.decorator_list
        for part in outside:
            yield from run_at_import(part)
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
        return
    if isinstance(node, ast.stmt | ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from run_at_import(child)


def acts(node: ast.stmt | ast.Call) -> bool:
    """Whether a statement or call at the top level does more than define a value."""
    if isinstance(node, ast.Call):
        function = node.func
        while isinstance(function, ast.Call):
            function = function.func
        called = ast.unparse(function).rpartition(".")[2]
        # By convention, a name that begins with a capital letter is a class.
        return not (called in MAKES_A_VALUE or called.lstrip("_")[:1].isupper())
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return is_call or isinstance(node, ast.For | ast.While | ast.With | ast.Try)


def test_one_module_imports_what_threads_must_not_import_at_once() -> None:
    for module in SOURCES:
        for package, own in IMPORTED_BY_ONE.items():
            assert module == own or package not in packages(module), module


def test_importing_a_module_does_nothing() -> None:
    """On its top level, a module only defines."""
    for module in SOURCES:
        acting = [f"{module}:{node.lineno}" for node in run_at_import(tree(module)) if acts(node)]
        assert acting == []


@pytest.mark.parametrize(
    "code",
    [
        "load()",
        "X = load()",
        "X: Model = models.load()",
        "X = [load(name) for name in NAMES]",
        "X = Path(load())",
        "class A:\n    model = load()",
        "if FAST:\n    X = load()",
        "def f(model=load()):\n    pass",
        "for name in NAMES:\n    pass",
        "try:\n    import fast\nexcept ImportError:\n    fast = None",
    ],
)
def test_what_acts_at_import_is_found(code: str) -> None:
    assert any(acts(node) for node in run_at_import(ast.parse(code)))


def parameters(module: str) -> Iterator[ast.arg]:
    """The parameters of all functions but lambdas."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (inner for inner in ast.walk(node.args) if isinstance(inner, ast.arg))


def test_parameters_and_variables_say_what_they_hold() -> None:
    """`one` may be the variable of a loop."""
    for module in SOURCES:
        vague = [item.lineno for item in parameters(module) if item.arg in SAYS_NOTHING]
        stored = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Name))
        vague += [
            node.lineno
            for node in stored
            if isinstance(node.ctx, ast.Store) and node.id in SAYS_NOTHING - {"one"}
        ]
        assert vague == [], module


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


def test_test_files_are_not_imported() -> None:
    """What they share is in tests/support."""
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                found = [alias.name for alias in node.names if ".test_" in f".{module}{alias.name}"]
                assert not found, file


AUDITED = """
import importlib, sys, threading
EFFECTS = ("subprocess.", "socket.connect", "os.mkdir", "os.remove", "os.rename",
           "os.system", "os.fork", "os.exec", "os.posix_spawn", "sqlite3.connect")
effects, before = [], threading.active_count()
def note(event, arguments):
    writes = event == "open" and any(letter in str(arguments[1]) for letter in "wax+")
    if writes or event.startswith(EFFECTS):
        effects.append((event, str(arguments)))
sys.addaudithook(note)
for module in sys.argv[2:]:
    importlib.import_module(module)
heavy = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
print(heavy, threading.active_count() - before, effects)
"""


def imported_in_fresh_interpreter(*modules: str, folder: Path = ROOT, **environment: str) -> str:
    """The model libraries that importing modules loads, the threads that it starts, and its effects
    on files, processes and connections."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", AUDITED, ",".join(sorted(HEAVY)), *modules],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_importing_the_program_loads_no_model_library_and_starts_nothing() -> None:
    assert imported_in_fresh_interpreter(*SOURCES, PORT="not read at import") == "[] 0 []"


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        ("import torch", "['torch'] 0"),
        ("from threading import *\nThread(target=Event().wait, daemon=True).start()", "[] 1 []"),
        ("open('made', 'w').close()", "'open', \"('made', 'w',"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_an_effect_of_an_import_is_seen(tmp_path: Path, code: str, effect: str) -> None:
    (tmp_path / "effective.py").write_text(code)
    (tmp_path / "torch.py").write_text("")
    found = imported_in_fresh_interpreter("effective", folder=tmp_path, PYTHONPATH="")
    assert effect in found


def test_the_reader_of_imports_sees_what_it_must() -> None:
    """The checks above would notice: their reader finds imports at every depth."""
    code = ast.parse(
        "import a.b\nfrom studio import audio\nfrom studio.errors import StudioError\n"
        "def f():\n    import late\nclass C:\n    import early\nif True:\n    import also\n"
    )
    assert imported_at_once(code) == {"a.b", "studio.audio", "studio.errors", "early", "also"}
    assert "torch" in imported("studio.separation.torch_engine")
    assert "subprocess" in imported(GUARD)
