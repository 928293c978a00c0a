"""One run of the bench: where, how much, and what came of it so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from load.bench.goals import OURS
from load.bench.measure import Place, middle
from load.bench.peers import PEERS, Peer


@dataclass
class Run:
    """Where and how much is measured, and what came of it so far."""

    place: Place
    rounds: int = 2
    quick: bool = False
    viewers: int | None = None
    rate: float | None = None
    only: tuple[str, ...] = ()
    say: Callable[[str], None] = print
    samples: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, figure: str, value: float, whose: str = OURS) -> None:
        self.samples[figure][whose].append(value)

    def figures(self) -> dict[str, dict[str, float]]:
        """The medians of all rounds: figure → whose → value."""
        return {
            figure: {whose: middle(values) for whose, values in all_.items()}
            for figure, all_ in self.samples.items()
        }

    def peers(self, least: int = 0) -> list[type[Peer]]:
        """Those that run here and bear so many viewers; who does not run is said once."""
        here = []
        for peer in PEERS:
            if self.only and peer.name not in self.only:
                self.skipped.setdefault(peer.name, "not asked for")
            elif why := peer.missing():
                if self.skipped.setdefault(peer.name, why) == why:
                    self.say(f"  {peer.name} is not measured: {why}")
            elif least <= peer.most:
                here.append(peer)
        return here
