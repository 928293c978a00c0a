"""The evaluator of the alerts' expressions gives what Prometheus gives.

The known values are of Prometheus itself: ``promtool test rules`` accepts them, and where it is
installed a test asks it again.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.promql import Scrape, evaluate, names, scrape

FIRST = """\
# HELP asked_total Requests.
# TYPE asked_total counter
asked_total{status="2xx",route="/a"} 100
asked_total{status="5xx",route="/a"} 0
asked_total{status="5xx",route="/ready"} 10
late_bucket{le="0.1"} 1000
late_bucket{le="1.0"} 1000
late_bucket{le="+Inf"} 1000
free{directory="a\\"b\\n"} 5
size{directory="a\\"b\\n"} 100
up 1
"""
LAST = """\
asked_total{status="2xx",route="/a"} 190
asked_total{status="5xx",route="/a"} 10
asked_total{status="5xx",route="/ready"} 4
late_bucket{le="0.1"} 1000
late_bucket{le="1.0"} 1060
late_bucket{le="+Inf"} 1100
free{directory="a\\"b\\n"} 5
size{directory="a\\"b\\n"} 100
up 0
"""
SCRAPES = [scrape(0.0, FIRST), scrape(60.0, LAST)]
KNOWN = [
    ("up", 0.0),
    ("up == 0", 0.0),
    ("up > 0", None),
    ("up + 2 * 3", 6.0),
    ("(up + 2) * 3 - 1 / 2", 5.5),
    ("free / size < 0.1", 0.05),
    ("free / size < 0.05", None),
    ("absent(up)", None),
    ("absent(nothing)", 1.0),
    ("max(asked_total)", 190.0),
    ("min(asked_total)", 4.0),
    ('sum(asked_total{status="5xx"})', 14.0),
    ('sum(asked_total{status="5xx",route!="/ready"})', 10.0),
    ('sum by (status) (asked_total{status="5xx"}) > 13', 14.0),
    ('sum(asked_total{status="5xx"}) by (status) > 13', 14.0),
    # Two samples a minute apart: half a minute is added where the counter was not zero.
    ('increase(asked_total{status="2xx"}[10m])', 135.0),
    ('rate(asked_total{status="2xx"}[5m])', 0.45),
    # It was zero at the first sample, so it had not grown before.
    ('increase(asked_total{status="5xx",route="/a"}[10m])', 10.0),
    # It fell: the server began again.
    ('increase(asked_total{route="/ready"}[10m])', 6.0),
    ('sum(rate(asked_total{status="5xx"}[5m])) / sum(rate(asked_total[5m])) > 0.01', 16 / 151),
    ("histogram_quantile(0.5, sum by (le) (rate(late_bucket[5m])))", 0.85),
    ("histogram_quantile(0.99, sum by (le) (rate(late_bucket[5m])))", 1.0),
    ("histogram_quantile(0.99, sum by (le) (rate(late_bucket[5m]))) > 1", None),
]


@pytest.mark.parametrize(("expression", "wanted"), KNOWN)
def test_an_expression_has_the_value_that_prometheus_gives(
    expression: str, wanted: float | None
) -> None:
    value = evaluate(expression, SCRAPES)

    assert isinstance(value, dict)
    assert list(value.values()) == ([] if wanted is None else [pytest.approx(wanted)])


def test_nothing_observed_has_no_quantile_and_fires_nothing() -> None:
    expression = "histogram_quantile(0.99, sum by (le) (rate(late_bucket[5m])))"
    still = [SCRAPES[0], Scrape(60.0, SCRAPES[0].series)]

    (value,) = evaluate(expression, still).values()  # type: ignore[union-attr]
    assert math.isnan(value)
    assert evaluate(f"{expression} > 0.5", still) == {}


def test_a_counter_with_one_sample_has_no_rate() -> None:
    assert evaluate("rate(asked_total[5m])", SCRAPES[:1]) == {}
    assert evaluate("rate(asked_total[5m])", [SCRAPES[0], Scrape(900.0, SCRAPES[1].series)]) == {}


def test_the_metrics_of_an_expression_are_known() -> None:
    expression = 'sum by (le) (rate(a_bucket{x="1"}[5m])) / absent(b) > max(c) by (d)'
    assert names(expression) == {"a_bucket", "b", "c"}


@pytest.mark.parametrize(
    "expression",
    [
        "bottomk(1, up)",
        "up and up",
        "up[5m]",
        "rate(up)",
        'up{a!~"b"}',
        "up >",
        "up up",
        "1 > 2",
        "-up",
    ],
)
def test_what_it_does_not_know_is_an_error(expression: str) -> None:
    with pytest.raises(AssertionError):
        evaluate(expression, SCRAPES)


async def test_promtool_agrees(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    both = [one.series for one in SCRAPES]
    series = [
        {"series": _notation(labels, named=True), "values": f"{both[0][labels]} {both[1][labels]}"}
        for labels in both[0]
    ]
    asked = [
        {
            # It compares to the last bit, and sums in another order.
            "expr": f"round({expression}, {1 / 1024})",
            "eval_time": "1m",
            "exp_samples": [
                {"labels": _notation(labels), "value": math.floor(value * 1024 + 0.5) / 1024}
                for labels, value in evaluate(expression, SCRAPES).items()  # type: ignore[union-attr]
            ],
        }
        for expression, _ in KNOWN
    ]
    # JSON is YAML, too.
    story = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    file = tmp_path / "known.yml"
    file.write_text(json.dumps(story))
    tool = await asyncio.create_subprocess_exec(
        promtool, "test", "rules", str(file), stdout=PIPE, stderr=STDOUT
    )
    told, _ = await tool.communicate()

    assert tool.returncode == 0, told.decode()


def _notation(labels: frozenset[tuple[str, str]], *, named: bool = False) -> str:
    found = dict(labels)
    name = found.pop("__name__", "")
    return (
        (name if named else "")
        + "{"
        + ",".join(f"{key}={json.dumps(text)}" for key, text in found.items())
        + "}"
    )
