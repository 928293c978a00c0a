"""Where a request comes from. A header counts only when a proxy that we trust wrote it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

from multidict import MultiMapping

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MOST_HOPS = 20
AGENT_LONGEST = 255
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, as the login history keeps it."""

    ip: str
    user_agent: str


def origin(address: str, agent: str | None) -> Origin:
    """Of a client at an address, and what it calls itself in at most 255 visible characters."""
    return Origin(address, UNPRINTABLE.sub("?", agent or "")[:AGENT_LONGEST])


@functools.lru_cache(maxsize=8)
def networks(trusted: str) -> tuple[Network, ...]:
    """A setting's addresses and networks, with commas between them. ValueError for anything
    else.
    """
    words = trusted.replace(",", " ").split()
    return tuple(ip_network(word, strict=False) for word in words)


class Sent(Protocol):
    """The parts of a request that tell where it comes from, however it was read."""

    @property
    def headers(self) -> MultiMapping[str]: ...

    @property
    def remote(self) -> str | None: ...


def client_address(request: Sent, trusted: str) -> str:
    """The address of the client: the peer, or, while that is a trusted proxy, the one before it.

    `trusted` is the setting ``trusted_proxies``. X-Forwarded-For is read from the right, because
    everything left of the first proxy that we do not trust may be invented. Empty for a local
    socket.
    """
    proxies = networks(trusted)
    address = parsed(request.remote or "")
    hops = [
        hop for line in request.headers.getall("X-Forwarded-For", ()) for hop in line.split(",")
    ]
    for hop in reversed(hops[-MOST_HOPS:]):
        if address is None or not any(address in proxy for proxy in proxies):
            break
        before = parsed(hop)
        if before is None:
            break
        address = before
    return str(address) if address is not None else ""


def parsed(text: str) -> Address | None:
    """An address as proxies write it, perhaps with a port; IPv4 in IPv6 as IPv4. None when it is
    none.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def neighbourhood(address: str) -> str:
    """The address as limits count it: IPv6 by /64, because a single client owns that many."""
    found = parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return address


def network(address: str) -> str:
    """The network of an address as limits count it: IPv6 by /48, which providers give to a single
    site; an IPv4 address alone.
    """
    found = parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 48), strict=False))
    return address
