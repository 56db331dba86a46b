"""Two ends of a connection and the wire between them, on which a test decides what becomes of each packet."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant
from casty_sim.stack.tcp import ACK_NS, AGREE, ANSWER, ASK, DATA, END, PROBE, RESET, End, key_of_peer

WORDS = {ASK: "ask", AGREE: "agree", DATA: "data", END: "end", RESET: "reset", PROBE: "probe"}
DELAY = MILLISECOND

type Fate = Callable[[str, "Packet"], tuple[Instant, ...]]
"""After which delays a packet that an end sends arrives: none for one that is lost."""


class Packet:
    """A packet under way."""

    def __init__(self, kind: int, key: int, seq: int, acked: int, room: int, body: bytes) -> None:
        self.kind, self.key, self.seq, self.acked, self.room, self.body = kind, key, seq, acked, room, body

    @property
    def word(self) -> str:
        """What it is for."""
        return "ack" if self.kind == DATA and not self.body else WORDS[self.kind]


class Reader:
    """A program at an end: keeps what it is told, and writes as soon as there is room."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.got = bytearray()
        self.has_connected = False
        self.has_ended = False
        self.error: OSError | None = None
        self.to_write = bytearray()
        self.then_end = False

    def connected(self) -> None:
        assert not self.has_connected
        self.has_connected = True

    def arrived(self, data: bytes) -> None:
        assert data, "no empty pieces are handed over"
        assert not self.has_ended, "nothing comes after the end"
        self.got += data

    def ended(self) -> None:
        assert not self.has_ended, "the end is told once"
        self.has_ended = True

    @property
    def wants_room(self) -> bool:
        return True

    def room(self) -> None:
        end = self.bench.ends[self.name]
        count = min(end.takes, len(self.to_write))
        if count > 0:
            end.write(bytes(self.to_write[:count]))
            del self.to_write[:count]
        if self.then_end and not self.to_write:
            end.end()

    def broken(self, error: OSError) -> None:
        assert self.error is None, "it breaks once"
        self.error = error


class Bench:
    """Both ends, `a` asks and `b` agrees, and the time. `Wire` for each."""

    def __init__(self, fate: Fate | None = None) -> None:
        self.time: Instant = 0
        self.fate: Fate = fate or (lambda name, packet: (DELAY,))
        self.heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self.seq = 0
        self.sent: list[tuple[Instant, str, str]] = []
        self.packets: list[tuple[str, Packet]] = []
        self.ends: dict[str, End] = {}
        self.forgotten: set[str] = set()
        self.is_listening = True
        self.has_place = True
        self.users = {name: Reader(self, name) for name in "ab"}
        self._known: dict[int, str] = {}
        self.answers = 0
        self.accepted = 0
        self._add("a", 2)

    def _add(self, name: str, key: int) -> None:
        self.ends[name] = End(Side(self, name), key, "ba"["ab".index(name)], (name, 1), ("ba"["ab".index(name)], 1))
        self._known[key] = name
        self.forgotten.discard(name)

    def after(self, delay: Instant, what: Callable[[], None]) -> None:
        """Something is to happen."""
        self.seq += 1
        heappush(self.heap, (self.time + delay, self.seq, what))

    def send(self, name: str, packet: Packet) -> None:
        """An end sends a packet."""
        self.sent.append((self.time, name, packet.word))
        self.packets.append((name, packet))
        for delay in self.fate(name, packet):
            self.after(delay, lambda: self.deliver("ba"["ab".index(name)], packet))

    def deliver(self, name: str, packet: Packet) -> None:
        """A packet arrives, at the stack of an end: as `Stack.on_packet` does it."""
        found = self._known.get(packet.key)
        end = self.ends[found] if found is not None and found not in self.forgotten else None
        if packet.kind == ASK:
            self._on_asked(packet.key)
        elif packet.kind == RESET:
            if end is None and name in self.ends and name not in self.forgotten and not packet.key >> ANSWER:
                end = self.ends[name]
            if end is not None:
                end.on_reset()
        elif packet.kind == AGREE:
            if end is None or not end.on_agreed(packet.seq):
                self._refuse(name, key_of_peer(packet.key) | packet.seq << ANSWER)
        elif end is None:
            self._refuse(name, key_of_peer(packet.key))
        else:
            end.on_packet(packet.kind, packet.seq, packet.acked, packet.room, packet.body)

    def _on_asked(self, key: int) -> None:
        if "b" in self.ends and "b" not in self.forgotten:
            self.ends["b"].asked_again()
        elif not self.is_listening:
            self._refuse("b", key_of_peer(key))
        else:
            self.answers += 1
            self._add("b", key | self.answers << ANSWER)
            self.ends["b"].agree()

    def _refuse(self, name: str, key: int) -> None:
        self.send(name, Packet(RESET, key, 0, 0, 0, b""))

    def accept(self, name: str) -> bool:
        """An end was taken up by the other."""
        if not self.has_place:
            return False
        self.accepted += 1
        self.ends[name].user = self.users[name] = Reader(self, name)
        self.ends[name].read(on=True)
        return True

    def connect(self) -> None:
        """`a` asks for the connection."""
        end = self.ends["a"]
        end.user = self.users["a"]
        end.read(on=True)
        end.ask()

    def crash(self, name: str) -> None:
        """The host of an end loses its power, and is there again."""
        self.forgotten.add(name)

    def write(self, name: str, data: bytes, *, then_end: bool = False) -> None:
        """The program at an end writes bytes, as there is room."""
        user = self.users[name]
        user.to_write += data
        user.then_end = user.then_end or then_end
        if name not in self.forgotten:
            user.room()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.time + round(seconds * SECOND)
        while self.heap and self.heap[0][0] <= until:
            self.time, _, what = heappop(self.heap)
            what()
        self.time = until

    def words(self, name: str) -> list[str]:
        """The packets that an end has sent."""
        return [word for _, sender, word in self.sent if sender == name]

    def times(self, name: str, word: str) -> list[float]:
        """When an end has sent packets of a kind, in seconds."""
        return [at / SECOND for at, sender, each in self.sent if sender == name and each == word]


class Side:
    """The wire as one end has it."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self._name = bench, name

    def now(self) -> Instant:
        return self._bench.time

    def carry(self, end: End, kind: int, seq: int, body: bytes) -> None:
        key = key_of_peer(end.key) if kind == ASK else end.peer_key
        self._bench.send(self._name, Packet(kind, key, seq, end.next_in, end.room, body))

    def ring(self, end: End, at: Instant) -> None:
        if end.ring_at is None or at < end.ring_at:
            end.ring_at = at
            self._bench.after(at - self._bench.time, lambda: self._on_ring(end, at))

    def unring(self, end: End) -> None:
        end.ring_at = None

    def _on_ring(self, end: End, at: Instant) -> None:
        if end.ring_at == at and self._is_known(end):
            end.ring_at = None
            end.on_due(self._bench.time)

    def acknowledge(self, end: End) -> None:
        def say() -> None:
            if end.owes and self._is_known(end):
                end.say()

        self._bench.after(ACK_NS, say)

    def accepts(self, end: End) -> bool:
        return self._bench.accept(self._name)

    def forget(self, end: End) -> None:
        if self._bench.ends[self._name] is end:
            self._bench.forgotten.add(self._name)

    def _is_known(self, end: End) -> bool:
        return self._bench.ends[self._name] is end and self._name not in self._bench.forgotten


def open_pair(fate: Fate | None = None) -> Bench:
    """A connection that is there."""
    bench = Bench()
    bench.connect()
    bench.run(0.1)
    assert bench.accepted == 1
    assert bench.users["a"].has_connected
    bench.sent.clear()
    bench.packets.clear()
    if fate is not None:
        bench.fate = fate
    return bench


def every(*outcomes: Any) -> Fate:
    """One outcome for each packet in turn, and then all of them arrive."""
    left = list(outcomes)
    return lambda name, packet: left.pop(0) if left else (DELAY,)
