"""Recorded data inside installed packages, for a user who has no recorded files.

In: a package's name. Out: the files in it. Never here: an import of the package's code.
"""

from importlib.util import find_spec
from pathlib import Path

from fairwind.core.errors import BadInput

SAMPLES = {
    "resolvedkit": ("resolvedkit", "sample_data/books.parquet"),
    "polymarket-backtest": ("polymarket_backtest", "data/sample/btc_orderbook.csv"),
}
"""Name -> (module, the data's path in it)."""
ALL = "samples"


def files(name: str) -> list[Path]:
    """The data files of a sample, or of all; BadInput when the package is not installed."""
    wanted = SAMPLES.values() if name == ALL else [SAMPLES[name]]
    found = []
    for module, inside in wanted:
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise BadInput(
                f"expected the package {module.replace('_', '-')}, found it not installed;"
                " run: pip install 'fairwind[samples]'"
            )
        path = Path(spec.submodule_search_locations[0]) / inside
        if not path.exists():
            raise BadInput(f"expected {inside} in the package {module}, found another version")
        found.append(path)
    return found
