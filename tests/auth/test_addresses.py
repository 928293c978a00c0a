"""The client's address: a header counts only when a trusted proxy wrote it."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from warmdesk.auth.addresses import client_address, neighbourhood, network, networks, origin


def seen(peer: str, trusted: str, *forwarded: str) -> str:
    headers = CIMultiDict([("X-Forwarded-For", line) for line in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    return client_address(request, trusted)


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "address"),
    [
        ("198.51.100.7", "", [], "198.51.100.7"),
        ("198.51.100.7", "", ["203.0.113.9"], "198.51.100.7"),
        ("198.51.100.7", "127.0.0.1", ["203.0.113.9"], "198.51.100.7"),
        ("127.0.0.1", "127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1", ["8.8.8.8, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1", ["8.8.8.8", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1, 10.0.0.0/8", ["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1, 10.0.0.0/8", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("127.0.0.1", "127.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("::1", "::1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("::1", "::1", ["2001:db8::5"], "2001:db8::5"),
        ("::ffff:127.0.0.1", "127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1", ["203.0.113.9, rubbish"], "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", [], "127.0.0.1"),
        ("", "127.0.0.1", ["203.0.113.9"], ""),
    ],
)
def test_only_what_trusted_proxies_say_counts(
    peer: str, trusted: str, forwarded: list[str], address: str
) -> None:
    assert seen(peer, trusted, *forwarded) == address


def test_a_long_chain_is_read_from_its_end_only() -> None:
    chain = ", ".join(["10.0.0.1"] * 10_000)

    assert seen("10.0.0.2", "10.0.0.0/8", chain) == "10.0.0.1"


def test_trusted_proxies_are_addresses_or_networks() -> None:
    with pytest.raises(ValueError):
        networks("nginx")


def test_neighbours_in_ipv6_count_as_one() -> None:
    assert neighbourhood("2001:db8:1:2:aaaa::1") == neighbourhood("2001:db8:1:2:bbbb::2")
    assert neighbourhood("2001:db8:1:2::1") != neighbourhood("2001:db8:1:3::1")
    assert neighbourhood("203.0.113.9") == "203.0.113.9"
    assert neighbourhood("") == ""


def test_a_site_of_ipv6_is_one_network() -> None:
    assert network("2001:db8:1:2::1") == network("2001:db8:1:ffff::9") == "2001:db8:1::/48"
    assert network("2001:db8:1:2::1") != network("2001:db8:2:2::1")
    assert network("::ffff:203.0.113.9") == "::ffff:203.0.113.9"
    assert network("203.0.113.9") == "203.0.113.9"
    assert network("") == ""


def test_what_a_client_calls_itself_is_kept_short_and_visible() -> None:
    came = origin("203.0.113.9", "Mozilla\r\nSet-Cookie: é" + "x" * 500)

    assert came.user_agent.startswith("Mozilla??Set-Cookie: ?")
    assert len(came.user_agent) == 255
    assert origin("", None).user_agent == ""
