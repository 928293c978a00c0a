"""Where a request comes from. A header counts only when a proxy that we trust wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

UNIX = "unix"
MOST_HOPS = 20


class Headers(Protocol):
    def getall(self, key: str, default: Sequence[str], /) -> Iterable[str]: ...


class Asked(Protocol):
    """What of a request is needed here."""

    @property
    def remote(self) -> str | None: ...

    @property
    def headers(self) -> Headers: ...


class Trusted:
    """The proxies whose X-Forwarded-For counts: addresses, networks, and ``unix`` for those on a local socket."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is none of them."""
        words = text.replace(",", " ").split()
        self.local = UNIX in words
        self.networks: tuple[Network, ...] = tuple(
            ip_network(word, strict=False) for word in words if word != UNIX
        )

    def __contains__(self, address: Address | None) -> bool:
        if address is None:
            return self.local
        return any(address in network for network in self.networks)


def client_address(request: Asked, trusted: Trusted) -> str:
    """The address of the client: the peer, or, while that is a trusted proxy, whom it says it speaks for.

    X-Forwarded-For is read from the right, because everything left of the first proxy that we do not trust may be
    invented. Empty for a local socket.
    """
    address = parsed(request.remote or "")
    hops = [
        hop for line in request.headers.getall("X-Forwarded-For", ()) for hop in line.split(",")
    ]
    for hop in reversed(hops[-MOST_HOPS:]):
        if address not in trusted:
            break
        before = parsed(hop)
        if before is None:
            break
        address = before
    return str(address) if address is not None else ""


def parsed(text: str) -> Address | None:
    """An address as proxies write it, perhaps with a port; IPv4 in IPv6 as IPv4. None when it is none."""
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
    """What a limit counts as one address: IPv6 by /64, because a single client owns that many."""
    found = parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return address
