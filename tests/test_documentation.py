"""What an operator can see has its entry in the reference, its examples run, its links resolve."""

import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from conftest import ROOT

from fairwind.core import config
from fairwind.core.holds import CATEGORY, Hold
from fairwind.engine.strategies import ROSTER

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def entries(heading: str) -> dict[str, list[str]]:
    """The table below a heading of the reference: first cell, without backticks -> the others."""
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    section = reference.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    table = {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}
    assert len(table) == len(rows), f"{heading}: an entry stands twice"
    assert all(cell for cells in table.values() for cell in cells), f"{heading}: an empty cell"
    return table


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def anchors(page: Path) -> set[str]:
    """The names that headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_hold_code_is_described_in_its_order_and_category() -> None:
    described = [(code, cells[0]) for code, cells in entries("Hold codes").items()]
    assert described == [(hold.name, CATEGORY[hold].value) for hold in Hold]


def test_every_setting_is_described_with_its_default() -> None:
    defaults = msgspec.to_builtins(config.Config())
    expected = {
        key: json.dumps(defaults[section][field])
        for key in config.names()
        for section, field in [key.split(".")]
    }
    assert {key: cells[1].strip("`") for key, cells in entries("Settings").items()} == expected


def test_every_strategy_is_described() -> None:
    described = entries("Strategies")
    assert list(described) == [spec.id for spec in ROSTER]
    off = [spec.id for spec in ROSTER if not spec.enabled]
    assert [id for id, cells in described.items() if "off by default" in cells[-1]] == off


def test_every_parameter_is_described_with_unit_and_default() -> None:
    owners = {p.name: p for spec in reversed(ROSTER) for p in spec.parameters}
    described = {key: cells[:2] for key, cells in entries("Parameters").items()}
    assert described == {key: [p.unit, f"{p.default:g}"] for key, p in owners.items()}


@pytest.mark.skipif(find_spec("fairwind.cli") is None, reason="there is no command line yet")
def test_every_command_is_described() -> None:
    from typer.main import get_command

    from fairwind.cli import app

    assert sorted(entries("Commands")) == sorted(get_command(app).commands)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for code in blocks(page, "python"):
        exec(compile(code, name(page), "exec"), scope)
    for text in blocks(page, "toml"):
        tomllib.loads(text)


def test_an_example_of_the_settings_file_is_valid() -> None:
    (example,) = blocks(ROOT / "docs" / "reference.md", "toml")
    parsed = config.parse(example)
    spec = next(spec for spec in ROSTER if spec.id in parsed.strategies)
    assert [key for key in parsed.strategies[spec.id] if key != "enabled"] == [
        p.name for p in spec.parameters if p.name in parsed.strategies[spec.id]
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_to_a_page_of_ours(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_scripts_that_a_page_names_are_there(page: Path) -> None:
    for script in re.findall(r"^(?:scripts|\.ci)/\w+", page.read_text("utf-8"), re.MULTILINE):
        assert (ROOT / script).stat().st_mode & 0o100, f"{script} cannot be run"


def test_locked_requirements_hold_hashes_and_no_addresses() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"://|--(?:index|extra|find|trusted)|@ ", text), lock
        named = r"^[a-z0-9.-]+(?:\[[a-z0-9,-]+\])?=="
        pinned = re.findall(named + r"\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) > 0
