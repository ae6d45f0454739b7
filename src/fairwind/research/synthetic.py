"""A generated world as a recording, so that it is saved, replayed and reported like a recorded one.

In: knobs as a user writes them. Out: Knobs, and a Recording whose labels are the world's truth.
Never here: randomness of its own.
"""

from collections.abc import Iterable, Mapping

import msgspec

from fairwind.core.config import nearest
from fairwind.core.errors import BadConfig
from fairwind.core.units import reference_value
from fairwind.feeds.recorded.recording import Recording, Window, closing
from fairwind.world.generator import World, generate
from fairwind.world.knobs import Knobs


def knobs(asked: Mapping[str, str], wishes: Iterable[str]) -> Knobs:
    """Knobs from texts by name and from `name=value` wishes, which win.

    Several values (series) are separated by commas. BadConfig for an unknown name, with the nearest
    valid one, and for a value of another type; bounds are checked by `generate`.
    """
    values: dict[str, object] = dict(asked)
    for wish in wishes:
        name, equals, text = wish.partition("=")
        if not equals:
            raise BadConfig(f"--set: expected name=value, found {wish!r}")
        several = isinstance(getattr(Knobs(), name, None), tuple)
        values[name] = text.split(",") if several else text
    for name in values:
        if name not in Knobs.__struct_fields__:
            raise BadConfig(f"unknown knob {name!r}; {nearest(name, Knobs.__struct_fields__)}")
    try:
        return msgspec.convert(values, Knobs, strict=False)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$.")
        name = place.partition("`")[0].partition("[")[0]
        expected = said.partition(", got")[0].lower()
        raise BadConfig(f"{name}: {expected}, found {values[name]!r}") from error


def recording_of(wanted: Knobs) -> Recording:
    """The world of the knobs, with its truth as labels. BadConfig when a knob is out of bounds."""
    world = generate(wanted)
    return Recording(
        events=closing(world.events), windows=labels(world), assumptions=world.assumptions
    )


def labels(world: World) -> tuple[Window, ...]:
    """What is true of each window, as a data set's label says it."""
    return tuple(
        Window(
            slug=window.slug,
            strike=reference_value(*window.strike),
            final=reference_value(*window.final),
            payout_e4=window.payout_e4,
        )
        for window in world.truth
    )
