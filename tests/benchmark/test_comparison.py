"""The benchmark by cost and closeness: who is on the front, and a page that is whole without a script."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from forgetmi.benchmark.comparison import Compared, compare, front
from forgetmi.benchmark.comparison_page import comparison_values, number, without_links
from forgetmi.benchmark.families import FAMILIES, OTHER, family_of
from forgetmi.benchmark.front_figure import front_figure
from forgetmi.core.registry import methods
from forgetmi.report.table import TableCell
from tests.benchmark.planted import COSTS, HOSTILE, planted, planted_page

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """Elements of a page with their attributes, and the rows of the comparison."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [values for name, values in self.elements if name == tag]

    @property
    def rows(self) -> list[dict[str, str]]:
        return [row for row in self.all("tr") if "data-method" in row]


@pytest.fixture(scope="module")
def page() -> str:
    return planted_page()


def test_the_front_is_what_no_other_beats_in_both() -> None:
    places = [(0.1, 5.0), (0.2, 5.0), (0.2, 3.0), (0.5, 1.5), (0.6, 1.6), (0.9, 1.0), (0.1, 6.0)]
    assert front(places) == [True, False, True, True, False, True, False]

    # Equal ones are on it together, and the order says nothing
    assert front([(0.3, 2.0), (0.3, 2.0), (0.4, 2.0)]) == [True, True, False]
    for order in itertools.permutations(range(4)):
        assert front([places[one] for one in order]) == [front(places[:4])[one] for one in order]
    assert front([]) == []


def test_the_front_of_planted_methods() -> None:
    rows = {row.label: row for row in compare(*planted(), 10.0)}
    assert [label for label, row in rows.items() if row.on_front] == [
        "NegGrad",
        "SCRUB",
        "Forget-MI",
    ]

    # Gap over floor of all heads together, JSf as the mean of the single heads, cost over a retraining's
    forget_mi = rows["Forget-MI"]
    assert forget_mi.gap.value == pytest.approx(1.25)
    assert forget_mi.jsf.value == pytest.approx(0.02)
    assert forget_mi.cost.value == pytest.approx(COSTS["forget_mi"])
    assert forget_mi.family == "pair and embedding losses"

    # References are no methods: Retrain is at 1 and 1, and beats nobody
    assert rows["Retrain"].gap.value == pytest.approx(1.0)
    assert rows["Retrain"].cost.value == 1.0
    assert rows["Original"].cost.reason == "does not apply"
    assert not rows["Retrain"].on_front
    assert rows["Retrain"].place is None


def test_who_failed_is_named_and_on_no_front() -> None:
    rows = {row.label: row for row in compare(*planted(), 10.0)}
    failed = rows["CF-k"]
    assert failed.place is None
    assert number(failed.gap, 1) == "failed"
    assert not failed.on_front


def test_a_floor_of_0_makes_no_ratio() -> None:
    rows = compare(*planted(floor=0.0), 10.0)
    assert {row.gap.reason for row in rows if row.label != "CF-k"} == {"the floor is 0"}
    assert not any(row.on_front for row in rows)
    assert front_figure("front", rows, ["x"] * len(rows)) == ""


def test_too_few_patients_have_no_front_and_the_page_says_so() -> None:
    results, settings = planted(patients=6)
    assert not any(row.on_front for row in compare(results, settings, 10.0))
    values = comparison_values(results, settings)
    assert "too few to tell methods apart" in values["fronts"][0]["note"]
    assert "No front is drawn." in values["fronts"][0]["picture"]
    assert "too few to tell methods apart" in planted_page(patients=6)


def test_every_method_is_a_named_link_to_its_row(page: str) -> None:
    found = Page(page)
    links = [link for link in found.all("a") if "aria-label" in link]
    rows = {row["id"]: row for row in found.rows}

    # From left to right, in the order of the keys
    for percent in ("3", "10"):
        costs = []
        for link in links:
            row = rows[link["href"][1:]]
            if row["data-percent"] == percent:
                costs.append(float(row["data-cost"]))
        assert costs == sorted(costs)
        assert len(costs) == len(COSTS) - 1  # CF-k failed
    for link in links:
        row = rows[link["href"][1:]]
        assert link["aria-label"].startswith(row["data-method"])
        assert ("on the front" in link["aria-label"]) == (row["data-front"] == "yes")

    # A group, since links in an image are not reached; named
    figure = next(one for one in found.all("svg") if one.get("class") == "front")
    assert figure["role"] == "group"
    ids = {values["id"] for _, values in found.elements if "id" in values}
    assert set(figure["aria-labelledby"].split()) <= ids
    assert "On the front: NegGrad, SCRUB, Forget-MI." in page


def test_points_lie_where_the_numbers_are() -> None:
    cells = [(0.5, 2.0), (1.0, 4.0)]
    rows = [
        Compared(f"m{at}", OTHER, 10.0, TableCell(cost), TableCell(gap), TableCell(0.1), at == 0)
        for at, (cost, gap) in enumerate(cells)
    ]
    picture = str(front_figure("front", rows, ["a", "b"]))
    spots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', picture)
    (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in spots]
    assert x2 - 56 == pytest.approx(2 * (x1 - 56), abs=0.2)
    assert 344 - y2 == pytest.approx(2 * (344 - y1), abs=0.2)
    assert 'href="#a"' in picture
    assert "href" not in without_links(picture)


def test_names_on_the_front_do_not_lie_on_each_other() -> None:
    rows = []
    for at in range(6):
        cost, gap = TableCell(0.5 + 0.005 * at), TableCell(2.0 - 0.005 * at)
        rows.append(Compared(f"method {at}", OTHER, 10.0, cost, gap, cost, on_front=True))
    picture = str(front_figure("front", rows, ["a"] * 6))
    lines = sorted(
        float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)"[^>]*>method', picture)
    )
    assert len(lines) == 6
    assert all(second - first > 13 for first, second in itertools.pairwise(lines))


def test_the_page_is_a_plain_table_without_a_script(page: str) -> None:
    found = Page(page)
    form = next(one for one in found.all("form"))
    assert "hidden" in form
    assert len(found.rows) == 2 * (len(COSTS) + 2)
    assert not [row for row in found.rows if "hidden" in row]

    # Every number that is filtered by stands in its row
    keys = {head["data-key"] for head in found.all("th") if "data-key" in head}
    controls = {one.get("name") for one in (*found.all("select"), *found.all("input"))}
    assert keys <= {name.removeprefix("data-") for name in found.rows[0]}
    assert controls - {"sort", "find"} <= {name.removeprefix("data-") for name in found.rows[0]}
    assert {option["value"] for option in found.all("option")} >= keys


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page: str) -> None:
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert page.count("<script") == 1
    assert "sortAndFilter(document" in script

    found = Page(page)
    loaded = [values.get("src") or values.get("href", "") for _, values in found.elements]
    assert all(address.startswith(("#", "data:,")) for address in loaded if address)
    assert not {"img", "iframe", "object", "embed"} & {tag for tag, _ in found.elements}


def test_hostile_names_stay_words() -> None:
    page = planted_page(label=HOSTILE)
    found = Page(page)
    assert [tag for tag, _ in found.elements].count("script") == 1
    assert "<script>alert" not in page
    assert HOSTILE in {row["data-method"] for row in found.rows}
    assert not any("onclick" in values for _, values in found.elements)


def test_the_families_are_those_of_the_first_page() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## Methods")[2].partition("## ")[0]
    shown = {}
    for line in re.findall(r"^\| ([a-z][^|]+) \| (`.+`) \|$", table, re.MULTILINE):
        shown[line[0].partition(":")[0]] = set(re.findall(r"`(\w+)`", line[1]))

    assert set(shown) == set(FAMILIES)
    for family, kinds in shown.items():
        assert kinds <= set(FAMILIES[family])


def test_every_method_of_this_package_has_one_family() -> None:
    kinds = [kind for family in FAMILIES.values() for kind in family]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == set(methods.names())
    assert family_of("a_method_of_yours") == OTHER
