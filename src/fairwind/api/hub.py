"""The socket's hub: each topic that somebody watches is folded once and encoded once, for all.

In: a Board, viewers and what they ask for. Out: snapshots, deltas, beats, in order, to each.
Never here: an unbounded buffer, work for a topic that nobody watches, one viewer that slows others.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from fairwind.api.auth import Session
from fairwind.api.board import Board
from fairwind.api.wire import Beat, Frame, Refusal, news, text
from fairwind.core.errors import BadInput
from fairwind.views.shapes import Snapshot, delta

LOG = logging.getLogger("fairwind.pages")
TURN_S = 0.2
"""Between two turns; one that somebody waits for comes after SOON_S."""
SOON_S = 0.05
IDLE_S = 1.0
"""Between two turns when nobody looks."""
SLICE_S = 0.05
"""The journal is read for so long at a time, so that nobody waits longer."""
BEAT_S = 1.0
RETRY_S = 1.0
"""A topic that was refused is tried again after that."""
FRAMES_MAX = 192
"""Frames that wait for one viewer; one more, and it is dropped."""
STALLED_S = 10.0
"""A viewer that takes none of its frames for so long is dropped."""
CLOSE_S = 1.0
VIEWERS_MAX = 64
TOPICS_MAX = 64
TOPIC_CHARS_MAX = 128
MESSAGE_CHARS_MAX = 4096
MESSAGES_AT_ONCE, MESSAGES_A_SECOND = 128, 20.0


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a viewer says."""

    subscribe: list[str] = []
    unsubscribe: list[str] = []


class Viewer:
    """One socket: what it watches, and what waits for it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.topics: set[str] = set()
        self.waiting: deque[str] = deque()
        self.ended = asyncio.Event()
        self.code, self.why = 1000, ""
        self._there = asyncio.Event()
        self._moved_s = time.monotonic()
        self._allowance, self._heard_s = float(MESSAGES_AT_ONCE), self._moved_s

    def put(self, frame: str) -> None:
        """Send in its turn; a viewer for whom too much waits is dropped."""
        if len(self.waiting) >= FRAMES_MAX:
            self.end(1013, "too slow: too many frames wait")
        elif not self.ended.is_set():
            if not self.waiting:
                self._moved_s = time.monotonic()
            self.waiting.append(frame)
            self._there.set()

    def stalls(self) -> bool:
        """Whether it has taken nothing of what waits for too long."""
        return bool(self.waiting) and time.monotonic() - self._moved_s > STALLED_S

    def may_speak(self) -> bool:
        """Whether one more message of it is not too many."""
        now_s = time.monotonic()
        more = (now_s - self._heard_s) * MESSAGES_A_SECOND
        self._allowance = min(MESSAGES_AT_ONCE, self._allowance + more) - 1
        self._heard_s = now_s
        return self._allowance >= 0

    def end(self, code: int, why: str) -> None:
        """Close it for a reason; the first one holds."""
        if not self.ended.is_set():
            self.code, self.why = code, why
            self.waiting.clear()
            self.ended.set()

    async def write(self, socket: WebSocket) -> None:
        """Send what waits, for ever."""
        while True:
            await self._there.wait()
            self._there.clear()
            while self.waiting:
                await socket.send({"type": "websocket.send", "text": self.waiting[0]})
                if self.waiting:  # else it was ended meanwhile
                    self.waiting.popleft()
                self._moved_s = time.monotonic()


class Topic:
    """One topic that is watched."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.shown: Snapshot | None = None
        self.viewers: set[Viewer] = set()
        self.new: set[Viewer] = set()
        """Those who have not been sent a snapshot yet."""
        self.version: tuple[object, ...] | None = None
        self.error = ""
        self.tried_s = 0.0


class Hub:
    """All viewers of one board. `lives` says whether a session may still look."""

    def __init__(self, board: Board, lives: Callable[[Session], bool]) -> None:
        self.viewers: set[Viewer] = set()
        self.topics: dict[str, Topic] = {}
        self.frames = 0
        """Encoded so far."""
        self.sent = 0
        """Handed to viewers so far."""
        self.dropped = 0
        """Viewers that did not read."""
        self._board = board
        self._lives = lives
        self._woken = asyncio.Event()
        board.viewers = lambda: len(self.viewers)

    async def run(self) -> None:
        """Follow the journal and serve what changed, until cancelled."""
        await asyncio.to_thread(self._board.follow, 0.0)  # loads the engine's code
        self._board.ready.set()
        beaten_s = turned_s = 0.0
        while True:
            caught_up = self._board.follow(SLICE_S)
            now_s = time.monotonic()
            if now_s - turned_s >= (SOON_S if self._woken.is_set() else TURN_S):
                self._woken.clear()
                self.turn()
                turned_s = now_s
            if now_s - beaten_s >= BEAT_S - TURN_S / 2:
                self._beat()
                beaten_s = now_s
            await self._pause(caught_up, turned_s)

    def turn(self) -> None:
        """Fold and send every topic that is watched and may have changed."""
        for topic in list(self.topics.values()):
            if not topic.viewers:
                del self.topics[topic.name]
                continue
            try:
                self._serve(topic)
            except Exception as error:
                LOG.exception("the view %s cannot be sent", topic.name)
                self._refuse(topic, f"this view has a defect ({error!r}); see the log")

    async def serve(self, socket: WebSocket, session: Session) -> None:
        """One viewer, until it goes or is closed."""
        if len(self.viewers) >= VIEWERS_MAX:
            await socket.close(1013, f"{VIEWERS_MAX} viewers look already")
            return
        await socket.accept()
        viewer = Viewer(session)
        self.viewers.add(viewer)
        viewer.put(self._beaten())
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._listen(socket, viewer)),
            asyncio.create_task(viewer.write(socket)),
            asyncio.create_task(viewer.ended.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._forget(viewer)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if viewer.ended.is_set():
            with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
                await asyncio.wait_for(socket.close(viewer.code, viewer.why), CLOSE_S)

    def hear(self, viewer: Viewer, said: str) -> None:
        """Act on a viewer's message; one that is not a wish ends it."""
        if len(said) > MESSAGE_CHARS_MAX:
            viewer.end(1009, f"expected at most {MESSAGE_CHARS_MAX} characters")
            return
        if not viewer.may_speak():
            viewer.end(1008, "too many messages")
            return
        try:
            wish = msgspec.json.decode(said, type=Wish)
        except (msgspec.DecodeError, UnicodeError):
            viewer.end(1008, 'expected {"subscribe": [topics]} or {"unsubscribe": [topics]}')
            return
        for name in wish.unsubscribe:
            self._leave(viewer, name)
        for name in wish.subscribe:
            self._join(viewer, name)

    def _join(self, viewer: Viewer, name: str) -> None:
        if len(name) > TOPIC_CHARS_MAX:
            viewer.end(1008, f"expected topics of at most {TOPIC_CHARS_MAX} characters")
        elif name not in viewer.topics and len(viewer.topics) >= TOPICS_MAX:
            viewer.put(text(Frame(topic=name, error=f"at most {TOPICS_MAX} topics at once")))
        else:
            topic = self.topics.setdefault(name, Topic(name))
            topic.viewers.add(viewer)
            topic.new.add(viewer)
            viewer.topics.add(name)
            self._woken.set()

    def _leave(self, viewer: Viewer, name: str) -> None:
        viewer.topics.discard(name)
        if name in self.topics:
            self.topics[name].viewers.discard(viewer)
            self.topics[name].new.discard(viewer)

    def _forget(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        for name in list(viewer.topics):
            self._leave(viewer, name)
        self.dropped += viewer.code == 1013

    def _serve(self, topic: Topic) -> None:
        before = topic.shown
        self._look(topic)
        if topic.shown is None:
            return
        same = before is None or before is topic.shown
        change = None if same or before is None else delta(before, topic.shown)
        if before is None or change is not None:
            topic.sequence += 1
        known = topic.viewers - topic.new
        if before is None:
            topic.new |= known
        elif change is not None and known:
            self._send(news(topic.name, topic.sequence, change), known)
        if topic.new:
            self._send(news(topic.name, topic.sequence, topic.shown), topic.new)
            topic.new.clear()

    def _look(self, topic: Topic) -> None:
        """Fold the topic if it may be another than last time; tell who watches when it cannot."""
        version, now_s = self._board.version(topic.name), time.monotonic()
        if topic.error:
            if now_s - topic.tried_s < RETRY_S and not topic.new:
                return
        elif version == topic.version:
            return
        topic.version, topic.tried_s = version, now_s
        try:
            topic.shown, topic.error = self._board.snapshot(topic.name), ""
        except (BadInput, Refusal) as error:
            self._refuse(topic, str(error))

    def _refuse(self, topic: Topic, why: str) -> None:
        known = topic.new if topic.error == why else topic.viewers
        topic.shown, topic.error = None, why
        if known:
            self._send(text(Frame(topic=topic.name, error=why)), known)
        topic.new.clear()

    def _send(self, frame: str, viewers: set[Viewer]) -> None:
        self.frames += 1
        for viewer in list(viewers):
            self.sent += 1
            viewer.put(frame)

    def _beat(self) -> None:
        frame = self._beaten()
        for viewer in list(self.viewers):
            if not self._lives(viewer.session):
                viewer.end(1008, "the session is over: log in again")
            elif viewer.stalls():
                viewer.end(1013, "too slow: nothing is read")
            else:
                viewer.put(frame)

    def _beaten(self) -> str:
        said: dict[str, Beat] = {"beat": self._board.beat()}
        return text(said)

    async def _listen(self, socket: WebSocket, viewer: Viewer) -> None:
        while not viewer.ended.is_set():
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            said = message.get("text")
            if said is None:
                viewer.end(1003, "expected text")
            else:
                self.hear(viewer, said)

    async def _pause(self, caught_up: bool, turned_s: float) -> None:
        """Until the next turn or until somebody waits for one; no time if there is more to read."""
        if not caught_up:
            await asyncio.sleep(0)
            return
        wait_s = turned_s + (TURN_S if self.viewers else IDLE_S) - time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), max(wait_s, 0.001))
        soon_s = turned_s + SOON_S - time.monotonic()
        if soon_s > 0:
            await asyncio.sleep(soon_s)
