"""Templates are rendered in cells: with the same result, and what costs too much stops no other tenant."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from rotated_secrets.api.target import Target
from rotated_secrets.cells import CellFailed, CellLimits, Cells, CellSettings
from rotated_secrets.delivery import rendering
from rotated_secrets.delivery.errors import DeliveryUnavailable, TemplateFailed
from rotated_secrets.delivery.render import MOST_KEYS, bytes_of, render
from rotated_secrets.delivery.rendering import CellRenderer
from rotated_secrets.values import SecretValue

VALUE = SecretValue.parse('{"username": "app", "password": "p\\nq", "n": 7}')


class CountedCells:
    """Cells that count how often one is opened, or refuse it."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.opened = 0
        self.fails: CellFailed | None = None
        self.limits = cells.limits

    def open(self, *arguments: Any, **named: Any) -> Any:
        self.opened += 1
        if self.fails is not None:
            raise self.fails
        return self._cells.open(*arguments, **named)


@pytest.fixture(scope="module")
def cells() -> Iterator[Cells]:
    made = Cells(CellSettings(limits=CellLimits(), modules=("rotated_secrets.delivery.rendering",)))
    yield made
    made.close()


@pytest.fixture
def counted(cells: Cells) -> CountedCells:
    return CountedCells(cells)


@pytest.fixture
def renderer(counted: CountedCells) -> CellRenderer:
    made: Any = counted
    return CellRenderer(made)


def target(**templates: str) -> Target:
    return Target(template=templates)


def test_bytes_that_are_no_text_come_back_from_the_cell_as_they_are(renderer: CellRenderer) -> None:
    content = bytes(range(256))
    value = SecretValue.parse(f'{{"keystore": "{base64.b64encode(content).decode()}"}}')
    rendered = renderer.render(target(JKS="{{ keystore | b64decode }}"), value, "shop")
    assert bytes_of(rendered["JKS"].reveal()) == content


def test_secret_of_the_largest_size_and_the_most_keys_comes_back_from_the_cell(renderer: CellRenderer) -> None:
    """All characters that JSON would write as six, and the longest names."""
    value = {f"{number:04}" + "k" * 249: "\x01" for number in range(MOST_KEYS - 17)}
    sources = {f"T{number}": "{{ big }}" for number in range(16)}
    wanted = Target(template=sources)
    rendered = renderer.render(wanted, SecretValue.parse(json.dumps(value | {"big": "\x01" * 60_000})), "shop")
    assert len(rendered) == MOST_KEYS


@pytest.mark.parametrize(
    "source",
    [
        "{{ value['big'] | b64decode }}",
        "{% if value['big'] | b64decode == value['big'] %}{% endif %}" * 60,
        "{% if value['list'] == value['list'] %}{% endif %}" * 100,
        "{% if value['list'][1999] in value['list'] %}{% endif %}" * 80,
    ],
)
def test_dearest_use_of_a_key_stays_within_the_bounds_of_a_cell(renderer: CellRenderer, source: str) -> None:
    """It is rendered, or refused for its size; a cell that is killed is refused in other words."""
    value = SecretValue.parse(json.dumps({"big": "YWFh" * 4_000, "list": [{"a": str(n)} for n in range(2_000)]}))
    try:
        renderer.render(target(OUT=source), value, "shop")
    except TemplateFailed as error:
        assert "1024 KiB" in str(error)


def test_the_result_is_the_same_as_here_to_the_letter(renderer: CellRenderer) -> None:
    wanted = target(URL="{{ username }}:{{ password | urlencode }}\n", RAW="{{ password }}")
    assert renderer.render(wanted, VALUE, "shop") == render(wanted, VALUE)


def test_a_template_that_fails_is_told_as_here(renderer: CellRenderer) -> None:
    with pytest.raises(TemplateFailed, match="'nope' is undefined"):
        renderer.render(target(X="{{ nope }}"), VALUE, "shop")
    with pytest.raises(TemplateFailed, match="a loop is not allowed"):
        renderer.check(target(X="{% for a in b %}{% endfor %}"), "shop")


def test_what_has_no_template_needs_no_cell(renderer: CellRenderer, counted: CountedCells) -> None:
    assert renderer.render(target(), VALUE, "shop") == render(target(), VALUE)
    renderer.check(target(), "shop")
    assert counted.opened == 0


def test_a_template_is_checked_once(renderer: CellRenderer, counted: CountedCells) -> None:
    for _ in range(3):
        renderer.check(target(X="{{ username }}"), "shop")
    assert counted.opened == 1
    renderer.check(target(X="{{ password }}"), "shop")
    renderer.check(target(Y="{{ username }}"), "shop")
    assert counted.opened == 3


def test_a_template_that_failed_is_checked_again(renderer: CellRenderer, counted: CountedCells) -> None:
    for _ in range(2):
        with pytest.raises(TemplateFailed):
            renderer.check(target(X="{{ 1 + 1 }}"), "shop")
    assert counted.opened == 2


def test_the_largest_content_comes_through(renderer: CellRenderer) -> None:
    value = SecretValue.parse('{"a": "' + "\\u0001" * 60_000 + '"}')
    wanted = target(**{f"K{number}": "{{ a }}" * 4 for number in range(4)})
    assert renderer.render(wanted, value, "shop") == render(wanted, value)


def test_templates_that_cost_too_much_are_the_resources_fault(
    renderer: CellRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is of an allowed shape; to compile all of them takes seconds."""
    monkeypatch.setattr(rendering, "CPU_SECONDS", 1)
    costly = "{% if username == username and username != n %}{{ username | upper | lower }}{% endif %}" * 60
    every = target().model_copy(update={"template": {f"K{number}": costly + str(number) for number in range(300)}})
    with pytest.raises(TemplateFailed, match="rendering the templates used 1 s of CPU time without an end; make them"):
        renderer.check(every, "shop")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("cpu", TemplateFailed),
        ("memory", TemplateFailed),
        ("time", DeliveryUnavailable),
        ("crowded", DeliveryUnavailable),
        ("closed", DeliveryUnavailable),
    ],
)
def test_how_a_cell_ended_says_whose_fault_it_was(
    renderer: CellRenderer, counted: CountedCells, outcome: str, kind: type[Exception]
) -> None:
    counted.fails = CellFailed("ended so", outcome)
    with pytest.raises(kind, match="rendering the templates ended so; ") as failed:
        renderer.render(target(X="x"), VALUE, "shop")
    assert type(failed.value) is kind


def test_cells_are_let_go(renderer: CellRenderer, cells: Cells) -> None:
    renderer.render(target(X="x"), VALUE, "shop")
    with pytest.raises(TemplateFailed):
        renderer.render(target(X="{{ nope }}"), VALUE, "shop")
    assert cells.running == 0
