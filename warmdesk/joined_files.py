"""The modules of the web application, joined: what is always fetched together is one file.

A module is a short file for who reads it and a request for who loads it; a board begins with fifty.
So they are joined in memory when the program starts, without tools and without guessing at the
language: each module stays a function of its own, in which ``import`` and ``export`` became what
they mean, and nothing else is changed but that lines of comment are left out. Modules are written
so that this can be done line by line; one that is not is refused.

A file has the name of its last module, so ``import("./card.js")`` gets what it asks for. What
several pages need is a file of its own, except where it is there before any of them can be asked
for. Others' files, in folders, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

IMPORT = re.compile(r'^import (?:([^;"]+) from )?"\./([\w./]+)";$', re.MULTILINE)
NAMES = re.compile(r"(?:\* as (\w+)|(\w+))?(?:, )?(?:\{([^{}]*)\})?", re.DOTALL)
PASSED = re.compile(r'^export \{([^{}]*)\}(?: from "\./([\w./]+)")?;$', re.MULTILINE)
DECLARED = re.compile(
    r"^export (?=(?:(?:async )?function\*?|class|const) ([\w$]+)[ (])", re.MULTILINE
)
DEFAULT = re.compile(r"^export default (?!(?:async )?(?:function|class)\b)", re.MULTILINE)
OTHERWISE = re.compile(r"^(?:import|export)\b(?! *[(.]).*", re.MULTILINE)
LATER = re.compile(r'import\("\./([\w./]+)"\)')
APART = re.compile(r'new URL\("\./([\w./]+)", import\.meta\.url\)')
COMMENT = re.compile(r"^ *(?:/\*(?:(?!\*/).)*\*/ *|//[^\n]*)\n", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"[\w$]+(?: as [\w$]+)?")
CHANGING = re.compile(r"^(?:let|var) .*", re.MULTILINE)
ASKED = re.compile(r"""\bimport *\([^)]*\)?|\bnew URL\(["'`]\./[^)]*\.js\b[^)]*\)?""")
"""What is fetched when it is wanted, however it is written."""
WAITING = re.compile(r"^(?:(?:const|let|var) [^=\n]*= *)?(?:for )?await\b.*", re.MULTILINE)

Sources = Mapping[str, bytes]
"""Files by their names."""


@dataclass
class Module:
    """A module, as it stands in a file with others."""

    name: str
    body: str
    needs: list[str] = field(default_factory=list)
    """What it imports, in order."""
    later: set[str] = field(default_factory=set)
    """What it fetches when it is wanted."""
    apart: set[str] = field(default_factory=set)
    """What it starts as programs of their own, which share nothing with the page."""
    exports: dict[str, str] = field(default_factory=dict)
    wanted: list[tuple[str, str]] = field(default_factory=list)
    """Of which module it takes which name."""


@dataclass
class Joined:
    """All files, those that are joined among them, and in which file each module stands."""

    files: dict[str, bytes]
    homes: dict[str, str]


def join(sources: Sources, start: str, apart: Iterable[str] = ()) -> Joined:
    """Join the modules that begin at `start`; those of `apart` stay as they are. Raises ValueError
    where a module is written in another way than this can read.
    """
    names = [name for name in sources if name.endswith(".js") and "/" not in name]
    modules = {
        name: _read(name, sources[name].decode()) for name in names if name not in set(apart)
    }
    for name, module in modules.items():
        for path, wanted in module.wanted:
            if path in modules and wanted not in modules[path].exports:
                raise ValueError(f"{name}: {path} exports no {wanted}")
    every = _Every(modules, start)
    homes = every.homes()
    files = {name: body for name, body in sources.items() if name not in modules}
    for home in dict.fromkeys(homes.values()):
        files[home] = every.file(home, homes).encode()
    return Joined(files, homes)


def alias(name: str) -> str:
    """What a module is called in the files: an object of all that it exports."""
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))


def _read(name: str, text: str) -> Module:
    found = Module(name, "")
    text = COMMENT.sub("", text if text.endswith("\n") else f"{text}\n")

    def imported(match: re.Match[str]) -> str:
        what, path = match.groups()
        found.needs.append(path)
        if what is None:
            return ""
        read = NAMES.fullmatch(what)
        if read is None:
            raise ValueError(f"{name}: {match[0]}")
        whole, default, some = read.groups()
        if whole:
            return f"const {whole} = {alias(path)};"
        listed = [f"default as {default}"] if default else []
        listed += _listed(name, some or "")
        found.wanted += [(path, each.partition(" as ")[0]) for each in listed]
        parts = [each.replace(" as ", ": ") for each in listed]
        return f"const {{ {', '.join(parts)} }} = {alias(path)};"

    def passed(match: re.Match[str]) -> str:
        listed, path = match.groups()
        if path is not None:
            found.needs.append(path)
        for each in _listed(name, listed):
            inner, _, outer = each.partition(" as ")
            if path is not None:
                found.wanted.append((path, inner))
            elif any(re.search(rf"\b{re.escape(inner)}\b", one) for one in CHANGING.findall(text)):
                raise ValueError(f"{name}: export {{ {inner} }}, which changes")
            found.exports[outer or inner] = f"{alias(path)}.{inner}" if path else inner
        return ""

    def declared(match: re.Match[str]) -> str:
        found.exports[match[1]] = match[1]
        return ""

    def default(_: re.Match[str]) -> str:
        found.exports["default"] = "$default"
        return "const $default = "

    for pattern, by in (
        (IMPORT, imported),
        (PASSED, passed),
        (DECLARED, declared),
        (DEFAULT, default),
    ):
        text = pattern.sub(by, text)
    asked = [
        one for one in ASKED.finditer(text) if not (LATER.match(one[0]) or APART.match(one[0]))
    ]
    if left := OTHERWISE.search(text) or WAITING.search(text) or next(iter(asked), None):
        raise ValueError(f"{name}: {left[0]}")
    found.body = text.lstrip("\n")
    found.later = set(LATER.findall(text))
    found.apart = set(APART.findall(text))
    return found


def _listed(name: str, names: str) -> list[str]:
    listed = [" ".join(each.split()) for each in names.split(",") if each.strip()]
    for each in listed:
        if NAME.fullmatch(each) is None:
            raise ValueError(f"{name}: {{ {each} }}")
    return listed


class _Every:
    """All modules, and what is fetched when."""

    def __init__(self, modules: Mapping[str, Module], start: str) -> None:
        self.modules = modules
        self.ordered: dict[str, None] = {}
        self.programs = {each for one in modules.values() for each in one.apart} | {start}
        later = {each for one in modules.values() for each in one.later}
        self.entries = sorted((self.programs | later) & set(modules))
        for name in [start, *self.entries]:
            self._walk(name, ())
        self.whole = {name: self._closure(name) for name in self.entries}

    def _walk(self, name: str, under: tuple[str, ...]) -> None:
        """What a module needs stands before it."""
        if name in under:
            raise ValueError(f"{name} needs itself: {' > '.join((*under, name))}")
        if name in self.modules and name not in self.ordered:
            for each in self.modules[name].needs:
                self._walk(each, (*under, name))
            self.ordered[name] = None

    def _closure(self, name: str) -> frozenset[str]:
        found = [name]
        for each in found:
            new = self.modules[each].needs
            found += [one for one in new if one in self.modules and one not in found]
        return frozenset(found)

    def _there(self) -> dict[str, frozenset[str]]:
        """What is there whenever an entry is asked for: all that anybody came with who can ask."""
        all_of_them = frozenset(self.modules)
        there = {
            name: frozenset() if name in self.programs else all_of_them for name in self.entries
        }
        changed = True
        while changed:
            changed = False
            for name in self.entries:
                askers = [
                    self.whole[one] | there[one]
                    for one in self.entries
                    if any(name in self.modules[each].later for each in self.whole[one])
                ]
                if name in self.programs or not askers:
                    continue
                new = frozenset.intersection(*askers)
                changed = changed or new != there[name]
                there[name] = new
        return there

    def homes(self) -> dict[str, str]:
        """The file of each module: that of the last one which is fetched at the same times."""
        there = self._there()
        groups: dict[object, list[str]] = {}
        for name in self.ordered:
            times = [one for one in self.entries if name in self.whole[one] - there[one]]
            alone = times[0] if len(times) == 1 else tuple(times)
            groups.setdefault(name if name in self.entries else alone, []).append(name)
        return {name: group[-1] for group in groups.values() for name in group}

    def file(self, home: str, homes: Mapping[str, str]) -> str:
        """The text of a file."""
        inside = [name for name in self.ordered if homes[name] == home]
        parts: list[str] = []
        others: dict[str, dict[str, None]] = {}
        for name in inside:
            for each in self.modules[name].needs:
                if homes.get(each) != home:
                    others.setdefault(homes.get(each, each), {})[each] = None
        for path, names in others.items():
            if path in self.modules:
                parts.append(f'import {{ {", ".join(map(alias, names))} }} from "./{path}";\n')
            else:
                parts.append(f'import * as {alias(path)} from "./{path}";\n')
        for name in inside:
            module = self.modules[name]
            pairs = ", ".join(
                one if one == inner else f"{one}: {inner}" for one, inner in module.exports.items()
            )
            parts.append(
                f"const {alias(name)} = (() => {{\n{module.body}return {{ {pairs} }};\n}})();\n"
            )
        asked = {
            each
            for name, one in self.modules.items()
            if homes.get(name, home) != home
            for each in one.needs
        }
        if told := [alias(name) for name in inside if name in asked]:
            parts.append(f"export {{ {', '.join(told)} }};\n")
        if home in self.entries:
            named = [one for one in self.modules[home].exports if one != "default"]
            if named:
                parts.append(f"export const {{ {', '.join(named)} }} = {alias(home)};\n")
            if "default" in self.modules[home].exports:
                parts.append(f"export default {alias(home)}.default;\n")
        return "".join(parts)
