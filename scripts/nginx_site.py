"""Write two variants of nginx/nginx.conf: a site for Debian's nginx, and one for several servers.

    python -m scripts.nginx_site

deploy/nginx-site.conf shares `http` with other sites: what nginx.conf sets there for all servers
goes into the servers, and names of formats and zones begin with `studio`. It also listens on IPv6.
nginx 1.22 does not know `http2 on;`. nginx/scale.conf is for docker-compose.scale.yml.
"""

import re
from pathlib import Path

from scripts.services.nginx import upstreams

ROOT = Path(__file__).resolve().parents[1]
SOURCE, SITE = ROOT / "nginx" / "nginx.conf", ROOT / "deploy" / "nginx-site.conf"
SCALE = ROOT / "nginx" / "scale.conf"
HEAD = """# A site for the nginx of Debian 12 and 13: /etc/nginx/sites-available/audio-studio.
# `make lock` writes this file from nginx/nginx.conf.

"""
# What Debian's nginx.conf sets, or what is nginx's default.
LEFT_OUT = {"include", "default_type", "tcp_nodelay", "keepalive_timeout"}
OF_TLS = re.compile(r"ssl_|server_tokens|access_log")
OF_SERVER = re.compile(r"proxy_|client_body_buffer_size|limit_(req|conn)_status")
RENAMED = {
    "server ai-backend:8000;": "server 127.0.0.1:8000;",
    "upstream backend {": "upstream studio {",
    "http://backend": "http://studio",
    "log_format json ": "log_format studio ",
    "access_log /dev/stdout json;": "access_log /var/log/nginx/audio-studio.log studio;",
    "zone=api": "zone=studio_api",
    "zone=downloads": "zone=studio_downloads",
    "limit_conn downloads": "limit_conn studio_downloads",
    "shared:tls:": "shared:studio:",
    "$onward_": "$studio_",
    "$limited_client": "$studio_client",
    "    http2 on;\n": "",
    "listen 443 ssl": "listen 443 ssl http2",
    "nginx/ssl/names.conf": "/etc/nginx/ssl/names.conf",
}

# The live nodes of docker-compose.scale.yml.
LIVE = {name: f"{name}:8000" for name in ("live-1", "live-2")}
SEVERAL = {
    "# TLS, ": "# For docker-compose.scale.yml; `make lock` writes it from nginx.conf.\n# TLS, ",
    """    upstream backend {
        server ai-backend:8000;
        keepalive 32;
    }
""": "    # All containers that have the name when nginx starts.\n" + upstreams(["web:8000"], LIVE),
    """        location /socket.io/ {
            proxy_pass http://backend;
""": """        location /socket.io/ {
            proxy_pass http://$server_group;
""",
    """        location ~ ^/(v1|audio-separator|asr|detect-language)(/|$) {
            proxy_pass http://backend;
""": """        location ~ ^/(v1|audio-separator|asr|detect-language)(/|$) {
            proxy_pass http://$server_group;
""",
}


def items(text: str) -> list[str]:
    """The directives and blocks in `http`, each with its comments, without their indentation."""
    body = text.partition("\nhttp {\n")[2].rpartition("\n}")[0]
    lines = re.sub(r"^ {4}", "", body, flags=re.M).split("\n")
    found, item = list[str](), list[str]()
    for line in lines:
        if not line and not item:
            continue
        item.append(line)
        ends = line == "}" or (line.endswith(";") and not any(one.endswith("{") for one in item))
        if ends:
            found.append("\n".join(item))
            item = []
    return found


def content() -> str:
    """The text of the site."""
    others, tls, server = list[str](), list[str](), list[str]()
    for item in items(SOURCE.read_text("utf-8")):
        directive = re.sub(r"^(#.*\n)+", "", item)
        if directive.split()[0] in LEFT_OUT:
            continue
        kind = tls if OF_TLS.match(directive) else server if OF_SERVER.match(directive) else others
        kind.append(item)
    blocks = [_with(item, tls, server) for item in others]
    text = HEAD + "\n\n".join(blocks) + "\n"
    for old, new in RENAMED.items():
        assert old in text, old
        text = text.replace(old, new)
    # As Debian's own site does. Docker passes IPv6 on to the IPv4 of containers.
    return re.sub(r"^( *)listen (\d.*)$", r"\1listen \2\n\1listen [::]:\2", text, flags=re.M)


def content_for_several() -> str:
    """The text of the configuration for several web servers."""
    text = SOURCE.read_text("utf-8")
    for old, new in SEVERAL.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _with(item: str, tls: list[str], server: list[str]) -> str:
    """A server, with the directives that it cannot inherit from `http`."""
    if "listen 443" not in item:
        return item
    is_main = "location / {" in item
    added = [*tls, *(server if is_main else [])]
    lines = "\n".join(f"    {line}" for one in added for line in one.splitlines())
    return re.sub(r"^(    server_name .*)$", rf"\1\n\n{lines}", item, count=1, flags=re.M)


def main() -> None:
    SITE.write_text(content(), "utf-8")
    SCALE.write_text(content_for_several(), "utf-8")


if __name__ == "__main__":
    main()
