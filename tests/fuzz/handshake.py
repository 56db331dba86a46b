"""The handshake, against a stranger who says anything and against somebody in the middle who changes anything.

The stranger's words are the bytes: as one body, and as a stream of frames where they are one. For the one in the middle
they are a program, see `_Middle`. Nonces follow from the bytes, so that no input can hold the proof that it needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import sha256

from attrs import frozen

from casty_proto.machine import Wake
from casty_proto.wire import (
    HANDSHAKE_FRAME_MAX,
    Connected,
    ConnectionLost,
    Dialer,
    Established,
    FrameDecoder,
    FrameError,
    HandshakeEffect,
    HandshakeEvent,
    HandshakeOptions,
    HandshakeRefused,
    Kind,
    Listener,
    Lost,
    Node,
    Reason,
    Received,
    Send,
)

A, B = Node("a", 1, "10.0.0.1:7000"), Node("b", 2, "[::1]:7001")
OPEN = HandshakeOptions("shop")
SECURE = HandshakeOptions("shop", secret=b"open sesame")
OLDER, NEWER = (
    HandshakeOptions("shop", highest_version=3),
    HandshakeOptions("shop", lowest_version=2, highest_version=9),
)
SECURE_NEWER = HandshakeOptions("shop", secret=b"open sesame", highest_version=5)
PAIRS = ((OPEN, OPEN), (SECURE, SECURE), (OLDER, NEWER), (SECURE, SECURE_NEWER), (SECURE_NEWER, SECURE_NEWER))
NOW = 1_000
TEXT_MAX = 1_000
STEPS_MAX = 64


def fuzz_handshake(data: bytes) -> None:
    """Raise for a bug: a connection that opens without a proof, an end that answers for ever, another exception."""
    for bodies in _said(data):
        for options in (OPEN, SECURE, OLDER):
            _stranger(bodies, End(Dialer(A, Kind.DATA, options, _nonce(b"dialer", data)), options, Kind.DATA))
            _stranger(bodies, End(Listener(B, options, _nonce(b"listener", data)), options, None))
    _Middle(data).run()


def _nonce(role: bytes, data: bytes) -> bytes:
    return sha256(role + data).digest()


def _said(data: bytes) -> list[list[bytes]]:
    """What the bytes say: one body, and the frames in them."""
    try:
        frames = FrameDecoder(HANDSHAKE_FRAME_MAX).feed(data)
    except FrameError as error:
        frames = error.frames
    return [found for found in ([data], frames) if found]


class End:
    """One end, with all that must hold of it whoever is at the other."""

    def __init__(self, machine: Dialer | Listener, options: HandshakeOptions, kind: Kind | None) -> None:
        self.machine = machine
        self.options = options
        self.kind = kind
        self.sent: list[bytes] = []
        self.ended: HandshakeEffect | None = None

    def feed(self, event: HandshakeEvent, now: int = NOW) -> list[bytes]:
        """What the end sends."""
        was_over = self.ended is not None
        effects = self.machine.handle(event, now)
        self.machine.invariants()
        assert not (was_over and effects), "something came after the end"
        sent = []
        for effect in effects:
            assert self.ended is None, "something came after the last effect"
            if isinstance(effect, Send):
                assert 0 < len(effect.body) <= HANDSHAKE_FRAME_MAX
                sent.append(effect.body)
            else:
                self._ends(effect)
        assert len(sent) <= 1, "one message had two answers"
        self.sent += sent
        assert len(self.sent) <= 3, "more was sent than two messages and a refusal"
        assert self.ended is None or self.machine.deadline() is None
        return sent

    def _ends(self, effect: HandshakeEffect) -> None:
        self.ended = effect
        match effect:
            case HandshakeRefused(reason, text):
                assert type(reason) is Reason
                assert 0 < len(text) <= TEXT_MAX
                assert text.isprintable()
            case Established(version, _, kind, secured):
                assert self.options.lowest_version <= version <= self.options.highest_version
                assert self.kind in (None, kind)
                assert secured == (self.options.secret is not None)
            case _:
                assert isinstance(effect, Lost)


def _stranger(bodies: list[bytes], end: End) -> None:
    end.feed(Connected())
    for body in bodies:
        end.feed(Received(body))
    assert not (end.options.secret and isinstance(end.ended, Established)), "a stranger has proved a secret"
    _waits_no_longer(end)


def _waits_no_longer(end: End) -> None:
    """Whatever was said, the deadline is the one of the beginning."""
    deadline = end.machine.deadline()
    assert (deadline is None) == (end.ended is not None)
    if deadline is not None:
        assert deadline == NOW + end.options.timeout_ns
        end.feed(Wake(), deadline - 1)
        assert end.machine.deadline() == deadline
        end.feed(Wake(), deadline)
        assert isinstance(end.ended, HandshakeRefused)
        assert end.ended.reason is Reason.TIMEOUT
    for event in (Connected(), Received(b"\x90"), ConnectionLost(), Wake()):
        end.feed(event)


@frozen
class _Word:
    """A message on its way."""

    to: int
    body: bytes


class _Middle:
    """Two honest ends, and somebody between them who follows a program.

    The first byte chooses the options, the second the kind of connection. Then each message that is waiting takes a
    byte, which says what becomes of it, and more where that needs them. When the program is over everything passes.
    """

    def __init__(self, data: bytes) -> None:
        self.program: Iterator[int] = iter(data)
        pair = PAIRS[self._next() % len(PAIRS)]
        self.kind = [*Kind][self._next() % len(Kind)]
        self.ends = (
            End(Dialer(A, self.kind, pair[0], _nonce(b"dialer", data)), pair[0], self.kind),
            End(Listener(B, pair[1], _nonce(b"listener", data)), pair[1], None),
        )
        self.waiting: deque[_Word] = deque()
        self.heard: list[bytes] = []

    def _next(self) -> int:
        return next(self.program, 0)

    def run(self) -> None:
        for to, end in ((1, self.ends[0]), (0, self.ends[1])):
            self._passed(to, end.feed(Connected()))
        for _ in range(STEPS_MAX):
            if not self.waiting:
                break
            self._step(self.waiting.popleft())
        self._agree()
        for end in self.ends:
            _waits_no_longer(end)

    def _passed(self, to: int, bodies: list[bytes]) -> None:
        self.heard += bodies
        self.waiting += [_Word(to, body) for body in bodies]

    def _deliver(self, to: int, body: bytes) -> None:
        self._passed(1 - to, self.ends[to].feed(Received(body)))

    def _step(self, word: _Word) -> None:
        to, body = word.to, word.body
        match self._next() % 12:
            case 1:
                return
            case 2:
                self._deliver(to, body)
                self._deliver(to, body)
            case 3:
                self.waiting.append(word)
            case 4:
                at, bit = self._next() % len(body), self._next() % 8
                self._deliver(to, body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :])
            case 5:
                self._deliver(to, body[: self._next() % len(body)])
            case 6:
                self._deliver(to, bytes([self._next() for _ in range(self._next())]))
            case 7:
                self._deliver(to, self.heard[self._next() % len(self.heard)])
            case 8:
                self._deliver(1 - to, body)
            case 9:
                at = self._next() % (len(body) + 1)
                self._deliver(to, body[:at] + bytes([self._next()]) + body[at + self._next() % 4 :])
            case 10:
                self._deliver(to, self.heard[self._next() % len(self.heard)])
                self._deliver(to, body)
            case 11:
                self.ends[to].feed(ConnectionLost() if self._next() % 2 else Wake())
                self._deliver(to, body)
            case _:
                self._deliver(to, body)

    def _agree(self) -> None:
        """Rule 23: with a secret, an open connection is the one that the two honest ends meant."""
        dialer, listener = self.ends
        if dialer.options.secret is None:
            return
        version = min(dialer.options.highest_version, listener.options.highest_version)
        for end, peer in ((dialer, B), (listener, A)):
            if isinstance(end.ended, Established):
                assert end.ended == Established(version, peer, self.kind, True), "something was changed on the way"
        if isinstance(dialer.ended, Established):
            assert isinstance(listener.ended, Established), "the dialer believed somebody else"
