"""One process of OpenStack Swift, or its rings. Runs in an environment with Swift, not in that of
the tests: `swift_server.py FOLDER rings PORTS` or `swift_server.py FOLDER KIND PORT`."""

import sys
from pathlib import Path

CONFIGURATION = """[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = gold
default = yes
"""
PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
user = {user}
workers = 0
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# One copy of everything, so a failed server has no substitute.
{limits}
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
STORE = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
user = {user}
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
{limits}
"""
# Long for a busy machine, and shorter than the S3 client waits. An object whose container is not
# told in time would never be listed, as no updater runs.
LIMITS = """node_timeout = 25
conn_timeout = 10
container_update_timeout = 25"""
KINDS = ("account", "container", "object")


def build(folder: Path, ports: list[int]) -> None:
    from swift.common.ring import RingBuilder

    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(CONFIGURATION)
    for kind, port in zip(KINDS, ports, strict=True):
        ring = RingBuilder(4, 1, 0)
        device = {"region": 1, "zone": 1, "ip": "127.0.0.1", "device": "disk", "weight": 1}
        ring.add_dev({**device, "port": port})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))


def serve(folder: Path, kind: str, port: int) -> int:
    import getpass

    import swift.common.utils
    import swift.common.utils.config

    # Read by the other modules when they are imported.
    swift.common.utils.config.SWIFT_CONF_FILE = str(folder / "swift.conf")
    swift.common.utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    from swift.common.wsgi import run_wsgi

    path = folder / f"{kind}.conf"
    text = PROXY if kind == "proxy" else STORE
    user = getpass.getuser()
    path.write_text(text.format(folder=folder, kind=kind, port=port, user=user, limits=LIMITS))
    code: int = run_wsgi(str(path), f"{kind}-server", default_port=port, verbose=True)
    return code


if __name__ == "__main__":
    if sys.argv[2] == "rings":
        build(Path(sys.argv[1]), [int(port) for port in sys.argv[3:]])
    else:
        sys.exit(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
