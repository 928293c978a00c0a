"""Where this server may connect to because somebody said so: public addresses, and those that the
setting ``webhook_allow_private`` names.

A name is resolved once, all its addresses are judged, and those are connected to. Between a check
and a connection of its own, a name could lead elsewhere.

Names are asked for over DNS, after the file of hosts, without a thread that waits: so one that
nobody answers for delays none but itself, however many there are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence

import aiodns
from aiohttp.abc import AbstractResolver, ResolveResult

from warmdesk.config import listed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOKUP_SECONDS = 5.0
"""How long a name is asked for, also where the system's own settings would wait longer."""

NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            # IPv6 has but one block of public addresses; of that, tunnels, examples and networks
            # of whoever asks for one are none.
            *("::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16"),
            *("3fff::/20",),
        ),
    )
)
"""What is not the public internet, by the registries of RFC 6890: also addresses that stand for
IPv4 ones, ``::ffff:0:0/96``, ``64:ff9b::/96`` and ``2002::/16``, which are in the blocks of IPv6.
"""


class ForbiddenTarget(OSError):
    """This server does not connect there."""


class Unanswered(OSError):
    """Nobody answers for a name."""


NUMERIC = re.compile(r"(^|[.])(0[xX][0-9a-fA-F]*|[0-9]+)[.]?$")
"""A host that some take for an address in another writing: ``127.1``, ``0x7f.1``. No name ends in a
number (RFC 3696)."""


class Targets:
    """Judges addresses. `allowed` is the setting: hosts and networks, separated by commas."""

    def __init__(self, allowed: str) -> None:
        self.listed = allowed
        self.hosts: set[str] = set()
        self.networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for each in listed(allowed):
            try:
                self.networks.append(ipaddress.ip_network(each, strict=False))
            except ValueError:
                self.hosts.add(_plain(each))

    def may(self, host: str, address: str) -> bool:
        """Whether this address, to which `host` led, may be connected to."""
        if _plain(host) in self.hosts:
            return True
        found = ipaddress.ip_address(address.partition("%")[0])
        if any(found in each for each in self.networks):
            return True
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        if mapped is not None and any(mapped in each for each in self.networks):
            return True
        return not any(found in each for each in NOT_PUBLIC)

    def check_literal(self, host: str) -> None:
        """Raise `ForbiddenTarget` for an address where none is to be; a name passes."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            if NUMERIC.search(host):
                raise ForbiddenTarget("not an address as it is written") from None
            return
        if not self.may(host, host):
            raise ForbiddenTarget("not a public address")


def _plain(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


class Resolver(AbstractResolver):
    """Looks names up for connections: gives addresses that may be connected to, or raises
    `ForbiddenTarget` when one of them may not, `Unanswered`, or another `OSError`. One for a whole
    process, and for one loop. `nameservers`: others than the system's.
    """

    def __init__(self, targets: Targets, nameservers: Sequence[str] = ()) -> None:
        self.targets = targets
        self.nameservers = nameservers
        self._dns: aiodns.DNSResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses: dict[str, ResolveResult] = {}
        for kind, address in await self._look_up(host):
            if not self.targets.may(host, address):
                raise ForbiddenTarget("not a public address")
            addresses[address] = {
                "hostname": host,
                "host": address,
                "port": port,
                "family": kind,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST,
            }
        if not addresses:
            raise OSError("no address")
        return list(addresses.values())

    async def _look_up(self, host: str) -> list[tuple[socket.AddressFamily, str]]:
        if self._dns is None:
            self._dns = aiodns.DNSResolver(nameservers=self.nameservers or None)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._dns.getaddrinfo(
                    host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except TimeoutError as error:
            raise Unanswered(f"nobody answered for it within {LOOKUP_SECONDS:g} s") from error
        except aiodns.error.DNSError as error:
            if error.args[0] == aiodns.error.ARES_ETIMEOUT:
                raise Unanswered("nobody answered for it") from error
            raise OSError("no address") from error
        return [
            (socket.AddressFamily(each.family), each.addr[0].decode())
            for each in found.nodes
            if each.family in (socket.AF_INET, socket.AF_INET6)
        ]

    async def check(self, host: str) -> None:
        """Raise `OSError` unless this host may be connected to now."""
        self.targets.check_literal(host)
        await self.resolve(host)

    async def close(self) -> None:
        if self._dns is not None:
            await self._dns.close()
            self._dns = None
