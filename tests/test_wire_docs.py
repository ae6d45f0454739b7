"""The page about the feeds names every reason for which a frame is refused."""

import pytest
from conftest import ROOT

from fairwind.feeds.frames import Reason

PAGE = (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_refusal_is_explained(reason: Reason) -> None:
    assert f"| `{reason}` |" in PAGE
