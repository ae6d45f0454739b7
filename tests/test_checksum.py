"""The recomputed checksum of a book, against books and hashes that the venue sent."""

import json

from conftest import SHARED, needs_shared

from fairwind.feeds.checksum import TokenBook, TradePrices, book_hash, fitting_trade_price

BOOK = TokenBook("0x1", "7", {"0.1": "5", "0.02": "1"}, {"0.3": "2", "0.25": "9.5"})


def sent_book() -> tuple[dict, dict, TokenBook]:
    fixture = json.loads((SHARED / "wire_samples" / "pm_book_hash_fixture.json").read_text())
    sent, inputs = fixture["book"], fixture["hash_inputs"]
    book = TokenBook(
        sent["market"],
        fixture["asset_id"],
        {level["price"]: level["size"] for level in sent["bids"]},
        {level["price"]: level["size"] for level in sent["asks"]},
        tick_size=inputs["tick_size"],
        min_order_size=inputs["min_order_size"],
        neg_risk=inputs["neg_risk"],
    )
    return fixture, inputs, book


@needs_shared
def test_a_book_that_the_venue_sent_has_the_hash_that_it_sent() -> None:
    fixture, inputs, book = sent_book()
    sent = fixture["book"]
    assert book_hash(book, sent["timestamp"], inputs["last_trade_price"]) == sent["hash"]


@needs_shared
def test_the_fitting_trade_price_is_found_among_the_candidates() -> None:
    fixture, inputs, book = sent_book()
    sent = fixture["book"]
    known = inputs["last_trade_price"]
    found = fitting_trade_price(book, sent["timestamp"], sent["hash"], ["0.001", known])
    assert found == known
    assert fitting_trade_price(book, sent["timestamp"], sent["hash"], ["0.001"]) is None


@needs_shared
def test_one_changed_size_changes_the_hash() -> None:
    fixture, inputs, book = sent_book()
    price = next(iter(book.bids))
    book.bids[price] += "1"
    sent = fixture["book"]
    assert book_hash(book, sent["timestamp"], inputs["last_trade_price"]) != sent["hash"]


def test_the_order_in_which_levels_were_learned_does_not_matter() -> None:
    other = TokenBook("0x1", "7", {"0.02": "1", "0.1": "5"}, {"0.25": "9.5", "0.3": "2"})
    assert book_hash(BOOK, "1", "0.130") == book_hash(other, "1", "0.130")


def test_the_best_prices_are_the_highest_bid_and_the_lowest_ask() -> None:
    assert BOOK.best() == (1000, 2500)
    assert TokenBook("0x1", "7").best() == (0, 10_000)


def test_candidates_begin_with_what_fitted_last_and_hold_prints_and_complements() -> None:
    prices = TradePrices()
    prices.fitted("0.420")
    prices.printed("0.87")
    assert [*prices.candidates()] == ["0.420", "0.870", "0.130", "0.860", "0.880", "0.120", "0.140"]
