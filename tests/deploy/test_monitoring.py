"""The Grafana dashboard and the alert rules use metrics and labels that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from studio.jobs.job import State
from studio.jobs.tables import TotalRow
from studio.web.metrics import CurrentValues, Metrics
from tests.support.server import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
CASES = ROOT / "tests" / "deploy" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "audio-studio.json").read_text("utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
PROMTOOL = shutil.which("promtool")
# Prometheus adds these to every series.
ADDED_LABELS = {"instance", "job"}
WIDTH = 24


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def expressions() -> list[str]:
    """All PromQL of the dashboard and the rules, as Prometheus gets it."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    shown = [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in shown]
    return shown + [rule["expr"] for rule in rules()]


def existing() -> dict[str, set[str]]:
    """The labels of each metric that /metrics can show, by the names of their samples."""
    metrics = Metrics(
        CurrentValues(
            jobs=lambda: {("demucs", State.QUEUED): 1},
            totals=lambda: [
                TotalRow(model="demucs", state="completed", jobs=1, audio_s=60.0, worked_s=1.0)
            ],
            live_sessions=lambda: 1,
            live_lag_s=lambda: 0.0,
            used_bytes=lambda: 1,
            free_bytes=lambda: 1,
        )
    )
    metrics.request_answered("GET", "/health", 200, 0.1)
    metrics.model_loaded("demucs/mini", 1.0)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


def family_of(name: str) -> str:
    return re.sub(r"_(total|bucket|sum|count)$", "", name)


def test_all_metrics_and_labels_exist() -> None:
    known = existing()
    for expression in expressions():
        names = re.findall(r"\bstudio_\w+", expression)
        assert names or expression.startswith("up{"), expression
        assert set(names) <= known.keys(), expression
        labels = set().union(*(known[name] for name in names)) | ADDED_LABELS
        selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
        grouped = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
        used = {*selected, *(one.strip() for group in grouped for one in group.split(","))}
        assert used <= labels, expression


def test_every_metric_is_shown_and_documented() -> None:
    shown = {family_of(name) for one in expressions() for name in re.findall(r"studio_\w+", one)}
    documented = {family_of(name) for name in re.findall(r"^\| `(studio_\w+)`", OPERATIONS, re.M)}
    assert shown == documented == {family_of(name) for name in existing()}


def test_no_panel_multiplies_the_figures_of_a_cluster_by_its_servers() -> None:
    """Every server shows the jobs of all of them."""
    [listed] = re.findall(r"metrics of jobs and the queue \(([^)]*)\)", OPERATIONS)
    shared = "|".join(re.findall(r"\w+", listed))
    aggregation = rf"(\w+)(?: by \([\w, ]*\) )?\((?:(?:rate|increase)\()?(?:{shared})\{{"
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    for expression in shown:
        uses = re.findall(rf"\b(?:{shared})\b", expression)
        assert re.findall(aggregation, expression) == ["max"] * len(uses), expression


def test_the_panels_fit_on_the_dashboard() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < WIDTH
        assert panel["datasource"]["uid"] == "${datasource}"
        taken |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)


def test_every_alert_has_a_case_and_says_what_to_do() -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    tried = {one["alertname"] for case in cases for one in case["alert_rule_test"]}
    assert tried == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def promtool(*arguments: str) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is not installed; .ci/run installs it")
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_all_expressions(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES))
    recorded = [{"record": f"shown:{n}", "expr": one} for n, one in enumerate(expressions())]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", str(path))


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    path = tmp_path / "cases.yml"
    path.write_text(CASES.read_text("utf-8").replace("ALERTS", str(RULES)))
    promtool("test", "rules", str(path))
