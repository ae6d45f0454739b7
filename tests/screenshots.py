"""Makes docs/pages/NAME-WIDTH.png: each page of a paper session that has traded for half an hour.

In: the commands themselves, on the market of one seed. Out: pictures; what they lack is printed.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import browser as b
from conftest import ROOT
from traded_run import traded

from fairwind.api.ui.pages import PAGES
from fairwind.core.units import SECOND_NS
from fairwind.research import progress

FOLDER = ROOT / "docs" / "pages"
WIDTHS = (1920, 1280)
HEIGHT = 1080
BYTES_MAX = 150_000
COLOURS = "128"
MARKET = ("--speed=10", "--seed=7", "--windows=72", "--knob=history_s=120")
CHANGED = {
    "edge_min": 10,
    "edge_stderrs": 0.25,
    "entry_cooldown": 30,
    "loss_cooldown": 60,
    "max_positions": 2,
    "trades_per_window": 2,
    "order_max": 20,
}
"""So that there is something to see within half an hour."""
CAPITAL = "[capital]\ndeposit = 5000.0\ndrawdown_stop = 0.2\n"
STRATEGIES = ("BTC_5M", "ETH_5M", "SOL_5M", "BTC_15M")
TRADED_S = 1_500
FROZEN = {"kind": "freeze", "line": "coinbase", "times": 0}
"""For the page of alerts."""


def name_of(path: str) -> str:
    """The picture's name for a page."""
    return path.strip("/").replace("/", "-") or "overview"


def main() -> None:
    """Make the pictures of the pages that are named, else of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="like overview or btc-5m-engine")
    wanted = set(parser.parse_args().names)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        runs.mkdir()
        b.done("report", str(traded(runs / "replay-1")))
        counted = ROOT / "runs" / progress.FILE
        if counted.exists():
            shutil.copy(counted, runs)
        for name, screen, width in pictures(runs / "paper-1"):
            if not wanted or name in wanted:
                take(screen, FOLDER / f"{name}-{width}.png")


def pictures(run: Path) -> Iterator[tuple[str, b.Screen, int]]:
    """Each page at each width, when it shows what it has."""
    changed = [f"--set={one}.{k}={v}" for one in STRATEGIES for k, v in CHANGED.items()]
    settings = run.with_suffix(".toml")
    settings.write_text(CAPITAL, encoding="ascii")
    with (
        b.market(*MARKET) as address,
        b.paper(run, f"--address={address}", f"--config={settings}", *changed) as (_, link),
        b.browsing() as chromium,
    ):
        screen = b.Screen(chromium, link)
        begin_ns = screen.api("/api/views/overview")["now_ns"]
        until_ns = begin_ns + TRADED_S * SECOND_NS
        b.until(lambda: screen.api("/api/views/overview")["now_ns"] > until_ns, TRADED_S, 1.0)
        trade = next(row for row in b.columns(screen.snapshot("orders")) if row["filled_micro"])
        paths = {name_of(page.path): page.path for page in PAGES}
        paths["provenance"] = f"/provenance/{trade['order']}"
        paths |= {name: paths.pop(name) for name in ("integrity", "runtime", "alerts")}
        for name, path in paths.items():
            if name == "integrity":
                b.post(address, "/control/faults", [FROZEN])
                b.until(lambda: screen.snapshot("alerts")["total"])
            for width in WIDTHS:
                screen.page.set_viewport_size({"width": width, "height": HEIGHT})
                screen.open(path)
                screen.page.wait_for_timeout(1200)
                yield name, screen, width
        screen.close()


def take(screen: b.Screen, place: Path) -> None:
    """One picture, of few colours when it is a large file."""
    lacks = [one["topic"] for one in screen.panels() if one["state"] != "ready"]
    screen.page.screenshot(path=place, full_page=True)
    if place.stat().st_size > BYTES_MAX and (reduce := shutil.which("pngquant")):
        subprocess.run([reduce, COLOURS, "--nofs", "--force", "--output", place, place], check=True)
    print(f"{place.name:<28} {place.stat().st_size:>8,} bytes", *lacks, *screen.ask("misplaced"))


if __name__ == "__main__":
    main()
