"""What the pages' process costs beside a run that trades, with and without viewers.

In: a run directory (of `fairwind paper`, running or finished), seconds, viewers. Out: percent of
one core, in Markdown. Never here: the engine's own time.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from served_pages import Page, Served, served
from websockets.exceptions import ConnectionClosed

PAGE = (
    *("overview", "alerts", "engine", "strategy/BTC_5M", "prices/BTC_5M", "fair/BTC_5M"),
    *("curve/BTC_5M", "heatmap/BTC_5M", "orders/BTC_5M", "positions/BTC_5M", "parameters/BTC_5M"),
)
"""What the page of one strategy watches: the most that any page does."""


def read_on(page: Page, stop: threading.Event) -> None:
    """A viewer that reads whatever comes."""
    while not stop.is_set():
        try:
            page.read(1.0)
        except TimeoutError:
            continue
        except ConnectionClosed:
            return


def percent(pages: Served, viewers: int, seconds: float) -> tuple[float, float]:
    """Percent of a core that the server takes, and frames a second that each viewer gets."""
    stop, shown = threading.Event(), [Page(pages, *PAGE) for _ in range(viewers)]
    threads = [threading.Thread(target=read_on, args=(page, stop)) for page in shown]
    for thread in threads:
        thread.start()
    time.sleep(3.0)
    cpu_s, wall_s, frames = pages.cpu_s(), time.monotonic(), sum(page.deltas for page in shown)
    time.sleep(seconds)
    took, passed_s = pages.cpu_s() - cpu_s, time.monotonic() - wall_s
    frames = sum(page.deltas for page in shown) - frames
    stop.set()
    for thread in threads:
        thread.join()
    for page in shown:
        page.socket.close()
    return 100 * took / passed_s, frames / passed_s / max(1, viewers)


def main() -> None:
    """Measure without viewers, with one, and with as many as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--viewers", type=int, default=5)
    chosen = parser.parse_args()
    print("| viewers | % of a core | deltas a second and viewer |\n| --- | --- | --- |")
    with served(chosen.run.resolve()) as pages:
        for viewers in (0, 1, chosen.viewers):
            share, frames = percent(pages, viewers, chosen.seconds)
            print(f"| {viewers} | {share:.2f} | {frames:.1f} |", flush=True)


if __name__ == "__main__":
    main()
