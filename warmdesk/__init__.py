"""WarmDesk: the real-time server for a team's boards and talk. The README is the map."""

__version__ = "0.1.0"
