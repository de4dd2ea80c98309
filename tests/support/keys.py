"""The API keys, the metrics key and the secret of servers in tests, and an upload with a key."""

from pathlib import Path

from tests.support.server import Server

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
METRICS_KEY = "metrics-0123456789abcdef"
SECRET = "a secret of the tests, 0123456789"


def upload(server: Server, path: Path, key: str, name: str) -> str:
    """Upload a file with an API key; its ID."""
    with path.open("rb") as file:
        answer = server.post("/upload", files={"file": (name, file)}, headers={"X-API-Key": key})
    return str(answer.json()["file_id"])
