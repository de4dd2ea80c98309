"""Addresses that a caller may name to reach what only the server reaches."""

import pytest

from studio.jobs.outgoing import OutgoingRefused, check, is_public

INSIDE = {
    "this host": ["0.0.0.0", "127.0.0.1", "127.8.8.8", "::", "::1"],
    "private": ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fc00::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "site-local": ["fec0::1", "feff::1"],
    "many hosts": ["224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "ff0e::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"],
    "translated": ["64:ff9b::7f00:1", "64:ff9b:1::a00:1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
    "compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001::1", "2001:0:808:808::f5ff:fffe"],
    "ISATAP": ["2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe"],
    "platform": ["168.63.129.16", "192.0.0.192", "fd00:ec2::254", "100.100.100.200"],
    "protocols": ["192.0.0.9", "192.31.196.1", "192.175.48.1", "2001:1::1", "2001:20::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "not assigned": ["4000::1", "100::1", "5f00::1", "2620:4f:8000::1"],
}
PUBLIC = [
    "93.184.215.14",
    "8.8.8.8",
    "168.63.129.17",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001:830::200e",
]


def shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", [one for kind in INSIDE.values() for one in kind])
def test_it_is_not_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(OutgoingRefused, match="private or local"):
        check(f"http://{shown(address.partition('%')[0])}/", allow_private=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_it_is_public(address: str) -> None:
    assert is_public(address)
    check(f"https://{shown(address)}/told", allow_private=False)
