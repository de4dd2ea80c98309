"""Content security policies: what a page may load or do in a browser."""

import base64
import hashlib

POLICY_HEADER = "Content-Security-Policy"
# Responses other than the pages may load nothing.
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
NO_PAGE_POLICY = f"{POLICY}; style-src 'unsafe-inline'"
# Operations are tried in place, and what they return is shown from memory.
DOCS_POLICY = (
    f"{POLICY}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:"
)
# Sound is played from the server, and recorded and mixed sound from memory.
STUDIO_POLICY = (
    f"{POLICY}; script-src 'self' 'wasm-unsafe-eval' {{import_map}}; worker-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'"
)
# The page connects to the server that its user names, and may take its client from a CDN.
TEST_PAGE_POLICY = (
    f"{POLICY}; style-src 'unsafe-inline'; connect-src * ws: wss:; media-src blob:; "
    "worker-src data: blob:; script-src 'self' data: https://cdn.socket.io {hashes}"
)


def script_source(script: str) -> str:
    """The source expression that allows an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
