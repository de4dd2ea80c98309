"""The stages of jobs that the code of the server names."""

import ast
from collections.abc import Iterator

from tests.support.server import ROOT


def stages() -> set[str]:
    """The literal stages that `report`, or a function with a parameter `stage`, is called with."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "studio").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    places = {"report": 0}
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            if "stage" in names:
                places[node.name] = [one for one in names if one != "self"].index("stage")
    calls = (node for node in nodes if isinstance(node, ast.Call))
    return {stage for call in calls for stage in _stages_of(call, places)}


def _stages_of(call: ast.Call, places: dict[str, int]) -> Iterator[str]:
    named = call.func
    name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
    given = [one.value for one in call.keywords if one.arg == "stage"]
    if name in places:
        given += call.args[places[name] :][:1]
    for value in given:
        if isinstance(value, ast.Constant) and value.value:
            yield str(value.value)
