"""Which windows a session follows: it looks for what it wants, asks for results, forgets the rest.

In: series or windows that the engine holds, the venue's catalogue. Out: markets that the inbox is
told to watch or forget. Never here: the engine, the journal, a wait that holds up a turn.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from fairwind.core.errors import Fault
from fairwind.core.ids import parse_slug
from fairwind.core.units import SECOND_NS
from fairwind.feeds.books import Market
from fairwind.feeds.discovery import end_ns, from_gamma, is_over, result_e4, wanted
from fairwind.feeds.gamma import Gamma, Listing
from fairwind.run.inbox import Inbox
from fairwind.world.clock import MarketClock

REFRESH_NS = SECOND_NS
"""Windows are looked for on multiples of it, so that a restart changes nothing."""
RESULT_LATE_NS = 120 * SECOND_NS
RESULT_EVERY_NS = 30 * SECOND_NS
"""A result that did not come on the stream by then is asked for, so often."""


class Discovery:
    """The search for windows of `series`, beside the turns. `pending` gives the numbers of the
    windows that the engine waits for; `listed` is told of every listing that is found."""

    def __init__(
        self,
        gamma: Gamma,
        inbox: Inbox,
        clock: MarketClock,
        series: Sequence[int],
        *,
        pending: Callable[[], set[int]],
        listed: Callable[[Listing], None],
    ) -> None:
        self.followed: dict[str, Market] = {}
        self.followed_ns: dict[str, int] = {}
        """Since when."""
        self.missing: dict[str, str] = {}
        """Windows that should be followed and cannot be, and why."""
        self.looked_ns = clock.now_ns()
        """When windows were looked for last."""
        self._gamma = gamma
        self._inbox = inbox
        self._clock = clock
        self._series = series
        self._pending = pending
        self._listed = listed
        self._asked_ns = clock.now_ns() - 1  # what is due at this very moment comes in a turn
        self._fault: Fault | None = None
        self._faulty: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def begin(self, stop: asyncio.Event) -> None:
        """Follow again what the engine holds, or look for the first time.

        Raises the Fault of a venue that cannot be reached at all.
        """
        wished = self._inbox.numbered() or wanted(self._series, self._asked_ns)
        self._looking = asyncio.create_task(self._look(self._asked_ns, wished))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((self._looking, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._looking.done():
            await self._looking
            self._looking = None
        if self._fault is not None and not self.followed:
            raise self._fault

    async def follow(self, now_ns: int) -> None:
        """Look for windows beside the turns; a market that stands waits for us."""
        if self._looking is None and now_ns // REFRESH_NS > self._asked_ns // REFRESH_NS:
            wished = {*self._inbox.numbered(), *wanted(self._series, now_ns)}
            self._looking = asyncio.create_task(self._look(now_ns, wished))
        if self._looking is not None and (self._clock.stepped or self._looking.done()):
            await self._looking
            self._looking = None

    async def _look(self, now_ns: int, wished: Iterable[str]) -> None:
        """Follow what is wished, ask for results that did not come, forget the rest."""
        ask = now_ns // RESULT_EVERY_NS > self._asked_ns // RESULT_EVERY_NS
        self._asked_ns = now_ns
        pending = self._pending()
        for slug in set(self.missing) - set(wished):
            del self.missing[slug]
        for slug in sorted(set(wished) - set(self.followed), key=self._turn_of):
            listing = await self._listing(slug)
            if listing is None and slug in self._faulty:
                break  # the others would fail as well, each after a long wait
            if listing is not None:
                number = self._inbox.number(*parse_slug(slug))
                self.followed[slug] = from_gamma(listing.market, number)
                self.followed_ns[slug] = self._clock.now_ns()
                self._inbox.watch(self.followed[slug], self._clock.now_ns())
        for slug, market in list(self.followed.items()):
            resolved = market.number in self._inbox.resolved
            late = not resolved and now_ns > end_ns(market) + RESULT_LATE_NS
            if late and ask:
                resolved = await self._result(slug, market)
            if is_over(end_ns(market), resolved, now_ns) and (
                resolved or market.number not in pending
            ):
                self._inbox.forget(market)
                del self.followed[slug], self.followed_ns[slug]
        self.looked_ns = self._clock.now_ns()

    def _turn_of(self, slug: str) -> tuple[bool, int, str]:
        """What could not be found last is looked for last, else what begins first comes first."""
        return slug in self._faulty, parse_slug(slug)[1], slug

    async def _result(self, slug: str, market: Market) -> bool:
        """Ask for a result that did not come; whether there is one."""
        listing = await self._listing(slug)
        payout_e4 = None if listing is None else result_e4(listing.market)
        if payout_e4 is not None:
            self._inbox.result(market, payout_e4, self._clock.now_ns())
        return payout_e4 is not None

    async def _listing(self, slug: str) -> Listing | None:
        """What the venue says about a window; None, and why in `missing`, when it says nothing."""
        try:
            listing = await self._gamma.market(slug)
        except Fault as error:
            self.missing[slug], self._fault = str(error), error
            self._faulty.add(slug)
            return None
        self._faulty.discard(slug)
        if listing is None:
            self.missing[slug] = "not listed yet"
            return None
        self.missing.pop(slug, None)
        self._listed(listing)
        return listing

    async def close(self) -> None:
        """End the search."""
        if self._looking is not None:
            self._looking.cancel()
        await self._gamma.close()
