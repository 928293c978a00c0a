"""Modules that are joined do what they did alone: those of the page, and some of every form."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from warmdesk.joined_files import COMMENT, alias, join
from warmdesk.rest.web import START, site

FORMS = {
    "start.js": """
/* A comment, which
 * import is("from").
 */
import "./first.js";
import whole, { half as part } from "./values.js";
import * as all from "./values.js";
import { Passed, name } from "./passing.js";
import tool, { say } from "./x/tool.js";
  // one more

export const PAGES = [() => import("./later.js"), () => import("./other.js")];
globalThis.said.push(whole, part, Object.keys(all).sort().join(), new Passed().is, name);
globalThis.said.push(tool(2), typeof say, `a // b
/${"*"} c */`, /[/]*import/.source);
""",
    "first.js": 'globalThis.said.push("first");\n',
    "values.js": """import {
  twice,
} from "./inner.js";

const half = twice(0.25);
export { half, twice as double };
export default twice(21);
""",
    "inner.js": "export function twice(one) {\n  return one * 2;\n}\n",
    "passing.js": """export { Passed, named as name } from "./class.js";
""",
    "class.js": """import { twice } from "./inner.js";
export class Passed {
  is = twice(4);
}
export const named = "named";
""",
    "later.js": """import { twice } from "./inner.js";
import { shared } from "./shared.js";
import { only } from "./only.js";
export const more = twice(shared());
export default () => only;
""",
    "other.js": """import { shared } from "./shared.js";
export async function* steps() {}
export const more = `other ${shared()}`;
export default () => "other";
""",
    "only.js": 'export const only = "only";',
    "shared.js": """let count = 0;
export const shared = () => (count += 1);
""",
    "x/tool.js": "export default function (n){return n+1}const say=1;export{say as say};",
    "worker.js": "export * from nowhere;",
    "unused.js": "export const unused = 1;\n",
}


def modules(**texts: str) -> dict[str, bytes]:
    return {f"{name}.js": text.encode() for name, text in texts.items()}


def forms() -> dict[str, bytes]:
    return {name: text.encode() for name, text in FORMS.items()}


def test_what_is_fetched_at_the_same_time_is_one_file() -> None:
    joined = join(forms(), "start.js", ["worker.js"])

    assert joined.homes == {
        **dict.fromkeys(("start.js", "first.js", "values.js"), "start.js"),
        **dict.fromkeys(("inner.js", "passing.js", "class.js"), "start.js"),
        **dict.fromkeys(("later.js", "only.js"), "later.js"),
        **{name: name for name in ("other.js", "shared.js")},
    }
    assert set(joined.files) == {*joined.homes.values(), "x/tool.js", "worker.js"}
    assert joined.files["x/tool.js"] == FORMS["x/tool.js"].encode()
    assert b"A comment" not in joined.files["start.js"]


def test_what_is_there_before_it_can_be_asked_for_is_not_apart() -> None:
    texts = modules(
        start='import("./page.js"); new Worker(new URL("./apart.js", import.meta.url));\n',
        page='import { both } from "./both.js";\nboth(() => import("./over.js"));\n',
        over='import { both } from "./both.js";\nimport { deep } from "./deep.js";\ndeep(both);\n',
        deep="export const deep = 1;\n",
        both="export const both = 1;\n",
        apart='import { deep } from "./deep.js";\ndeep();\n',
    )

    assert join(texts, "start.js").homes == {
        "start.js": "start.js",
        "both.js": "page.js",
        "page.js": "page.js",
        "over.js": "over.js",
        "deep.js": "deep.js",
        "apart.js": "apart.js",
    }


RUN = """
globalThis.said = [];
const { PAGES } = await import("./start.js");
for (const get of PAGES) {
  const { default: run, more, steps } = await get();
  globalThis.said.push(run(), more, typeof steps);
}
console.log(JSON.stringify(globalThis.said));
"""


async def ran(folder: Path, files: Mapping[str, bytes]) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here: joined files are tried in the browser only")
    for name, body in {
        **files,
        "run.mjs": RUN.encode(),
        "package.json": b'{"type": "module"}',
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    process = await asyncio.create_subprocess_exec(
        node,
        "run.mjs",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_joined_modules_do_what_they_did_alone(tmp_path: Path) -> None:
    alone = await ran(tmp_path / "alone", forms())
    joined = await ran(tmp_path / "joined", join(forms(), "start.js", ["worker.js"]).files)

    assert joined == alone
    assert '"first",42,0.5,"default,double,half",8,"named",3,"number"' in alone
    assert '"only",2,"undefined","other","other 2","function"' in alone


@pytest.mark.parametrize(
    "line",
    [
        'export * from "./one.js";',
        "export let changing = 1;",
        "export default function named() {}",
        "export default class {}",
        "import one from './one.js';",
        'import one from "./one.js" with { type: "json" };',
        'import one from "one";',
        "export const { part } = whole;",
        'import one, * as all from "./one.js";',
        "let one = 1;\nexport { one };",
        "let two, one;\none = 2;\nexport { one as other };",
        'import { one, // why\n two } from "./one.js";',
        'import { none } from "./one.js";',
        'import one from "./one.js";',
        'export { none } from "./one.js";',
        "const get = () => import('./one.js');",
        "const get = () => import(name);",
        "new Worker(new URL('./one.js', import.meta.url));",
        "await one();",
        "const two = await one();",
        "for await (const two of one()) two();",
        'import "./start.js";',
    ],
)
def test_what_cannot_be_read_is_refused(line: str) -> None:
    texts = modules(start=f"{line}\n", one="export const one = 1, two = 2;\n")
    with pytest.raises(ValueError, match=r"^start\.js"):
        join(texts, "start.js")


def test_a_comment_before_code_takes_none_of_it_along() -> None:
    text = "/* a */ const one = 1;\nconst two = 2; /* b */\nglobalThis.said = one + two;\n"
    assert join(modules(start=text), "start.js").files["start.js"].count(b"const") == 3


def test_modules_that_need_each_other_are_refused() -> None:
    texts = modules(
        start='import "./one.js";\n', one='import "./two.js";\n', two='import "./one.js";\n'
    )
    with pytest.raises(ValueError, match=r"one\.js > two\.js > one\.js"):
        join(texts, "start.js")


# Those of the page

HOME = Path(__file__).parents[1] / "warmdesk" / "web"


@pytest.mark.parametrize("path", sorted(HOME.glob("*.js")), ids=lambda path: path.name)
def test_no_text_of_a_module_is_taken_for_a_comment(path: Path) -> None:
    """A line of comment stands in no template: as many of their marks open as close before it."""
    text, start, marks = path.read_text(), 0, 0
    for match in COMMENT.finditer(text):
        marks += text.count("`", start, match.start())
        start = match.end()
        assert marks % 2 == 0, match[0]


IMPORTED = re.compile(r'^import \{ ([^}]*) \} from "\./([\w./]+)";$', re.MULTILINE)
EXPORTED = re.compile(r"^export \{ ([^}]*) \};$", re.MULTILINE)


def test_every_file_of_the_page_gets_what_it_imports() -> None:
    files, homes = site().sources, site().homes
    told = {
        home: {each for one in EXPORTED.findall(files[home].decode()) for each in one.split(", ")}
        for home in homes.values()
    }

    for home in told:
        for names, path in IMPORTED.findall(files[home].decode()):
            assert set(names.split(", ")) <= told[path], (home, path)
    for module, home in homes.items():
        assert f"const {alias(module)} = (() => {{\n" in files[home].decode()


def test_files_of_the_page_do_not_need_each_other_in_a_circle() -> None:
    needs = {
        home: [path for _, path in IMPORTED.findall(site().sources[home].decode())]
        for home in site().homes.values()
    }
    left = dict(needs)
    while ready := [home for home in left if not any(path in left for path in left[home])]:
        for home in ready:
            del left[home]

    assert left == {}


def test_a_program_of_its_own_brings_nothing_of_the_page() -> None:
    reads = site().imports("markdown_worker.js")

    assert "markdown_tokens.js" in reads
    assert START not in reads
