"""Playbooks of alerts, as they stand in docs/alerts.md.

In: the kind of an alert. Out: its rule, and its section in paragraphs of plain and emphasised text.
Never here: a text of our own where the documentation has one.
"""

import re
from pathlib import Path
from typing import NamedTuple

import fairwind
from fairwind.run.alerts import RULES, Kind, Rule

DOCUMENT = Path(fairwind.__file__).parents[2] / "docs" / "alerts.md"
"""Beside the sources; an installed wheel does not have it, and shows the rule alone."""
_MARKED = re.compile(r"(\*\*.+?\*\*|`.+?`)")


class Piece(NamedTuple):
    """A part of a paragraph; `tag` is b, code, or nothing."""

    tag: str
    text: str


class Playbook(NamedTuple):
    """What to do about one kind of alert."""

    kind: Kind
    rule: Rule
    paragraphs: list[list[Piece]]


def of(kind: str) -> Playbook | None:
    """The playbook of an alert; None when there is no such alert."""
    if kind not in Kind.__members__:
        return None
    sections = DOCUMENT.read_text(encoding="utf-8").split("\n### ") if DOCUMENT.exists() else []
    section = next((one for one in sections if one.partition("\n")[0].strip() == kind), "")
    text = re.split(r"\n#+ ", section.partition("\n")[2])[0]
    found = [pieces(one) for one in text.split("\n\n") if one.strip()]
    return Playbook(Kind[kind], RULES[Kind[kind]], found)


def pieces(paragraph: str) -> list[Piece]:
    """A paragraph of Markdown that has bold and code, and nothing else."""
    parts = _MARKED.split(" ".join(paragraph.split()))
    return [_piece(one) for one in parts if one]


def _piece(text: str) -> Piece:
    if text.startswith("**"):
        return Piece("b", text.strip("*"))
    return Piece("code", text.strip("`")) if text.startswith("`") else Piece("", text)
