"""Settings: defaults, refusals that name key, expectation and finding, and the first controls."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairwind.core import config
from fairwind.core.controls import Configure, Deposit, Enable, SetParameter
from fairwind.core.errors import BadConfig


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    assert config.load(tmp_path / "empty.toml") == config.load(None) == config.Config()


def test_a_file_changes_what_it_names_and_nothing_else() -> None:
    found = config.parse("[realism]\nlatency_ms = 5\n[strategies.BTC_5M]\nenabled = false")
    assert found.realism == config.Realism(latency_ms=5.0)
    assert found.strategies == {"BTC_5M": {"enabled": False}}
    assert (found.run, found.capital) == (config.Run(), config.Capital())


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("[realism]\nlatncy_ms = 3", "realism.latncy_ms", "realism.latency_ms"),
        ("latency_ms = 3", "latency_ms", "realism.latency_ms"),
        ("[captial]\ndeposit = 1", "captial.deposit", "capital.deposit"),
        ("[CAPITAL]\nDEPOSIT = 1", "CAPITAL.DEPOSIT", "capital.deposit"),
        ("[run.batch]\nsize = 1", "run.batch.size", "run.batch"),
        ("[strategie]", "strategie", "strategies"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_name(
    text: str, unknown: str, nearest: str
) -> None:
    with pytest.raises(BadConfig) as refusal:
        config.parse(text)
    assert str(refusal.value) == f"unknown key {unknown!r}; the nearest valid name is {nearest!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nbatch = 'x'", "run.batch: expected `int`, found 'x'"),
        ("[run]\nbatch = 0", "run.batch: expected `int` >= 1, found 0"),
        ("[run]\ndirectory = ''", "run.directory: expected `str` of length >= 1, found ''"),
        ("run = 3", "run: expected `object`, found 3"),
        ("[realism]\nqueue = 1", "realism.queue: expected `bool`, found 1"),
        ("[realism]\nlatency_ms = nan", "realism.latency_ms: expected `float` >= 0.0, found nan"),
        ("[capital]\ncap_family = 1.5", "capital.cap_family: expected `float` <= 1.0, found 1.5"),
        (
            "[capital]\ndeposit = inf",
            "capital.deposit: expected `float` <= 1000000000.0, found inf",
        ),
        ("[strategies.A]\nenabled = 1", "strategies.A.enabled: expected true or false, found 1"),
        ("[strategies.A]\nx = '1'", "strategies.A.x: expected a finite number, found '1'"),
        ("[strategies.A]\nx = nan", "strategies.A.x: expected a finite number, found nan"),
        ("[strategies]\nA = 2", "strategies.A: expected a table, found 2"),
        ("strategies = 3", "strategies: expected tables [strategies.ID], found 3"),
    ],
)
def test_a_wrong_value_is_refused_with_key_expectation_and_finding(text: str, message: str) -> None:
    with pytest.raises(BadConfig) as refusal:
        config.parse(text)
    assert str(refusal.value) == message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("a ==")
    binary.write_bytes(b"a = '\xff'")
    for path, reason in (
        (tmp_path / "absent.toml", "No such file"),
        (broken, "syntax error.*line 1"),
        (binary, "expected UTF-8"),
    ):
        with pytest.raises(BadConfig, match=f"{path.name}: .*{reason}"):
            config.load(path)


@given(st.binary(max_size=80))
def test_any_bytes_give_settings_or_one_refusal(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        config.load(path)
    except BadConfig as refusal:
        assert str(refusal).startswith(str(path))


@given(st.text(min_size=1, max_size=30), st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_the_nearest_name_is_always_a_valid_one(name: str, valid: list[str]) -> None:
    assert any(config.nearest(name, valid).endswith(repr(choice)) for choice in valid)


def test_a_run_opens_with_configure_then_deposit_then_overrides_in_a_fixed_order() -> None:
    text = "[strategies.B]\nz = 2\na = true\nenabled = false\n[strategies.A]\nedge = 0.5\n"
    first, second, *overrides = config.configure(
        config.parse(text + "[capital]\ndeposit = 12.345678\n[realism]\nqueue = false")
    )
    assert first == Configure(queue=False)
    assert second == Deposit(amount_micro=12_345_678)
    assert overrides == [
        SetParameter(strategy="A", name="edge", value=0.5),
        Enable(strategy="B", enabled=False),
        SetParameter(strategy="B", name="a", value=1.0),
        SetParameter(strategy="B", name="z", value=2.0),
    ]


def test_the_defaults_of_the_file_and_of_the_control_are_the_same() -> None:
    assert config.configure(config.Config()) == [Configure(), Deposit(amount_micro=10**9)]
