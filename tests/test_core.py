"""The words that every part shares: units, names, events, controls, hold codes, errors, clock."""

import inspect
import time
from decimal import Decimal
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairwind.core import clock, controls, errors, events, holds, ids, outputs, units

SERIES = st.integers(0, len(events.ASSETS) * len(events.HORIZONS_S) - 1)
STARTS_S = st.integers(10**8 + 3600, 10**11 - 1)
AMOUNTS = st.integers(-(10**15), 10**15)
CONTROLS = st.one_of(
    st.builds(controls.Configure, latency_ms=st.floats(0, 1e4), queue=st.booleans()),
    st.builds(controls.Deposit, amount_micro=AMOUNTS),
    st.builds(controls.Withdraw, amount_micro=AMOUNTS),
    st.builds(controls.Enable, strategy=st.text(), enabled=st.booleans()),
    st.builds(controls.SetParameter, strategy=st.text(), name=st.text(), value=st.floats(-9, 9)),
    st.builds(controls.SetMultiplier, strategy=st.text(), value=st.floats(0, 2)),
    st.builds(controls.Halt, reason=st.text(), operator=st.text()),
    st.just(controls.Resume()),
    st.builds(controls.Reset, force_defaults=st.booleans()),
)


@given(AMOUNTS, st.integers(0, 12))
def test_a_decimal_text_is_scaled_without_loss(value: int, exponent: int) -> None:
    assert units.scaled(str(Decimal(value).scaleb(-exponent)), exponent) == value


@given(st.integers(0, 10_000))
def test_a_price_is_the_same_from_text_float_and_decimal(price: int) -> None:
    forms = (f"{price / 10_000:.4f}", price / 10_000, Decimal(price) / 10_000)
    assert [units.price_e4(form) for form in forms] == [price] * 3


def test_a_float_is_read_as_a_person_would_read_it() -> None:
    assert units.price_e4(0.29) == 2900
    assert units.size_micro("19.999999") == 19_999_999
    assert units.spot_e8("113456.78") == 11_345_678_000_000


def test_a_tie_is_rounded_to_even() -> None:
    assert [units.scaled(text, 0) for text in ("0.5", "1.5", "2.5", "-0.5", "-1.5")] == [
        *(0, 2, 2),
        *(0, -2),
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: str | float) -> None:
    with pytest.raises(ValueError, match="finite"):
        units.scaled(value, 4)


@given(st.integers(0, 10**25))
def test_a_reference_value_survives_to_the_last_digit(value_e18: int) -> None:
    exact = Decimal(value_e18).scaleb(-18)
    value_e8, remainder_e18 = units.reference_parts(exact)
    assert 0 <= remainder_e18 < units.REMAINDER_ONE_E18
    assert units.reference_value(value_e8, remainder_e18) == exact


def test_a_reference_value_is_written_without_trailing_zeros() -> None:
    for text in ("113456.123456789012345678", "113456.5", "113000"):
        assert str(units.reference_value(*units.reference_parts(text))) == text


@given(SERIES, STARTS_S)
def test_a_window_and_its_slug_name_each_other(series: int, start_s: int) -> None:
    start_ns = (start_s - start_s % 3600) * units.SECOND_NS
    assert ids.parse_slug(ids.slug(series, start_ns)) == (series, start_ns)


def test_a_window_is_named_as_the_venue_names_it() -> None:
    assert ids.slug(0, 1_787_236_800 * units.SECOND_NS) == "btc-updown-5m-1787236800"
    assert ids.series_name(0) == "BTC_5M"
    assert ids.parse_slug("eth-updown-15m-1787237100")[0] == ids.series(1, 1)


@pytest.mark.parametrize(
    ("text", "multiple"), [("btc-updown-5m-1787236801", 300), ("eth-updown-15m-1787236800", 900)]
)
def test_a_short_window_starts_on_a_multiple_of_its_horizon(text: str, multiple: int) -> None:
    with pytest.raises(errors.BadInput, match=f"start is a multiple of {multiple} s.*{text}"):
        ids.parse_slug(text)


def test_a_longer_window_may_start_at_any_second() -> None:
    for horizon in ("1h", "4h"):
        assert ids.parse_slug(f"btc-updown-{horizon}-1787236801")[1] == 1787236801 * 10**9


def test_every_series_has_its_own_name() -> None:
    names = [ids.series_name(n) for n in range(len(events.ASSETS) * len(events.HORIZONS_S))]
    assert len(set(names)) == len(names)


@given(st.text(max_size=30))
def test_any_other_text_is_not_a_slug(text: str) -> None:
    with pytest.raises(errors.BadInput, match="expected a window slug"):
        ids.parse_slug(text)


def test_an_unknown_asset_or_horizon_is_not_a_slug() -> None:
    for text in ("eur-updown-5m-1787236800", "btc-updown-7m-1787236800", "BTC-updown-5m-178"):
        with pytest.raises(errors.BadInput):
            ids.parse_slug(text)


def test_an_event_takes_at_most_forty_bytes_without_padding() -> None:
    assert events.EVENT.itemsize == 40
    assert sum(events.EVENT[name].itemsize for name in events.EVENT.fields) == 40


@pytest.mark.parametrize("table", outputs.TABLES)
def test_an_output_row_is_aligned_and_little_endian(table: str) -> None:
    dtype = outputs.TABLES[table]
    assert dtype.itemsize % 8 == 0
    assert sum(dtype[name].itemsize for name in dtype.fields) == dtype.itemsize
    for field, offset in ((dtype[name], dtype.fields[name][1]) for name in dtype.names):
        assert offset % field.itemsize == 0
        assert field.newbyteorder("<") == field


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(events.Source)), max_size=30))
def test_events_are_sorted_by_receipt_then_source_then_arrival(
    rows: list[tuple[int, events.Source]],
) -> None:
    unsorted = events.empty(len(rows))
    for position, (ts_ns, source) in enumerate(rows):
        unsorted[position]["ts_ns"] = ts_ns
        unsorted[position]["source"] = source
        unsorted[position]["price"] = position
    found = events.in_order(unsorted)
    keys = list(zip(found["ts_ns"], found["source"], found["price"], strict=True))
    assert keys == sorted(keys)
    assert sorted(found["price"]) == list(range(len(rows)))


@given(CONTROLS, st.integers(0, 2**62))
def test_a_control_survives_its_event_and_payload(control, ts_ns: int) -> None:
    event, payload = controls.encode(ts_ns, control)
    assert event["kind"][0] == events.Kind.CONTROL
    assert event["ts_ns"][0] == ts_ns
    assert controls.decode(payload, int(event["price"][0])) == control


@given(CONTROLS, st.data())
def test_a_payload_with_a_changed_byte_is_refused(control, data: st.DataObject) -> None:
    event, payload = controls.encode(0, control)
    place = data.draw(st.integers(0, len(payload) - 1))
    changed = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
    with pytest.raises(errors.Corrupt, match="expected id"):
        controls.decode(changed, int(event["price"][0]))


def test_a_payload_that_is_no_control_is_refused_though_its_name_fits() -> None:
    for payload in (b"", b"{}", b'{"type":"Halt"}', b'{"type":"Reset","force":true}'):
        with pytest.raises(errors.Corrupt, match="does not parse"):
            controls.decode(payload, controls.payload_id(payload))


def test_every_control_has_its_own_number() -> None:
    examples = (
        controls.Configure(),
        controls.Deposit(amount_micro=1),
        controls.Withdraw(amount_micro=1),
        controls.Enable(strategy="A", enabled=True),
        controls.SetParameter(strategy="A", name="b", value=1.0),
        controls.SetMultiplier(strategy="A", value=1.0),
        controls.Halt(reason="test"),
        controls.Resume(),
        controls.Reset(),
    )
    numbers = [int(controls.encode(0, control)[0]["ref"][0]) for control in examples]
    assert numbers == list(range(len(examples)))
    assert {type(control) for control in examples} == set(get_args(controls.AnyControl))


def test_hold_codes_fit_a_mask_and_each_has_a_category() -> None:
    assert sorted(holds.Hold) == list(range(len(holds.Hold)))
    assert len(holds.Hold) <= 64
    assert set(holds.CATEGORY) == set(holds.Hold)
    assert set(holds.CATEGORY.values()) == set(holds.Category)
    assert holds.NO_HOLD not in set(holds.Hold)


def test_the_error_tree_is_the_one_its_module_draws() -> None:
    drawn = (errors.__doc__ or "").splitlines()
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        depth = len(kind.__mro__) - len(errors.FairwindError.__mro__)
        lines = [line for line in drawn if line.split()[:1] == [name]]
        assert [len(line) - len(line.lstrip()) for line in lines] == [4 + 2 * depth]


def test_a_struct_of_ours_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        controls.Deposit(amount_micro=1).amount_micro = 2  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"amount_micro": 1, "colour": "red"}, controls.Deposit)


def test_the_clock_counts_nanoseconds_since_the_epoch() -> None:
    before = time.time_ns()
    assert before <= clock.now_ns() <= time.time_ns()


def test_an_array_of_events_starts_as_zeros() -> None:
    assert not np.any(events.empty(3).view(np.uint8))
