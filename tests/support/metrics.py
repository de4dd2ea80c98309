"""The metrics of a server, read as Prometheus reads them."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server


class Scrape:
    """The values of one answer of /metrics, by name and labels."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        found = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def scrape(server: Server, **more: Any) -> Scrape:
    answer = server.get("/metrics", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    return Scrape(answer.text)
