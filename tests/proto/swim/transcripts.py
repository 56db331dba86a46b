"""Transcripts: a text of commands goes in, the same text with what the machine did goes out.

Each file of `transcripts/` is one conversation with one member. Lines that begin with `>` are commands, `#` begins a
remark, everything else is what the member did: the time in seconds, then a message and its receiver, or another effect.
`python -m tests.proto.swim.transcripts` writes the files anew; a difference is then to be looked at line by line.

    > member me wan seed=3             begin, with one of the sets of options; times are in ms: probe_interval=500
    > join s t                         seeds, by node id
    > p: gossip alive x.1; dead y.0    a message from p; updates are separated by `;`, and `x/2.1` is generation 2
    > p: ping 7 alive x.1              also: ack, indirect-ack, nack, records, and
    > p: ping-request 7 x
    > p: sync-request 7 after upto x.1; y.0        `-` is no text
    > p: sync-reply 7 covered x y
    > wait 500                         let so many milliseconds pass, with every alarm in them
    > wake                             let time pass until the next alarm
    > sleep 500                        let time pass, and notice only then
    > leave    > payload text    > lost p
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import assert_never

from casty_proto.machine import MILLISECOND, SECOND, Instant, Note, Reply, Wake
from casty_proto.swim import (
    Ack,
    ConnectionLost,
    Defunct,
    Departed,
    Digest,
    Gossip,
    Identity,
    IndirectAck,
    Join,
    Joined,
    Leave,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Message,
    Nack,
    Ping,
    PingRequest,
    Received,
    Records,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
    UpdatePayload,
)

FOLDER = Path(__file__).parent / "transcripts"
SETS: dict[str, Callable[..., SwimOptions]] = {"lan": SwimOptions, "wan": SwimOptions.wan, "local": SwimOptions.local}


def files() -> list[Path]:
    """All transcripts."""
    return sorted(FOLDER.glob("*.txt"))


def replay(text: str) -> str:
    """What the text is when its commands are carried out now."""
    lines: list[str] = []
    talk = Conversation()
    for line in text.splitlines():
        if line.startswith(">"):
            lines += [line, *talk.command(line[1:].strip())]
        elif line.startswith("#") or not line:
            lines.append(line)
    return "\n".join(lines) + "\n"


class Conversation:
    """One member and a clock."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.machine = Swim(Identity("nobody", 0), "nobody:1", rng=Random(0))

    def command(self, text: str) -> list[str]:
        """Carry out one command. Returns the lines that it gives."""
        word, _, rest = text.partition(" ")
        match word:
            case "member":
                return self._member(rest.split())
            case "join":
                return self._feed(Join(tuple(f"{seed}:1" for seed in rest.split())))
            case "leave":
                return self._feed(Leave())
            case "payload":
                return self._feed(UpdatePayload(rest.encode()))
            case "lost":
                return self._feed(ConnectionLost(f"{rest}:1"))
            case "wait":
                return self._wait(self.now + int(rest) * MILLISECOND)
            case "sleep":
                self.now += int(rest) * MILLISECOND
                return self._feed(Wake())
            case "wake":
                deadline = self.machine.deadline()
                return ["nothing to wait for"] if deadline is None else self._wait(deadline)
            case _:
                source = identity(word.removesuffix(":"))
                return self._feed(Received(f"{source.node_id}:1", message(source, rest)))

    def _member(self, words: list[str]) -> list[str]:
        me, *settings = words
        make: Callable[..., SwimOptions] = SwimOptions
        seed, options = 1, dict[str, int]()
        for setting in settings:
            name, _, value = setting.partition("=")
            if name in SETS:
                make = SETS[name]
            elif name == "seed":
                seed = int(value)
            elif f"{name}_ns" in dir(SwimOptions()):
                options[f"{name}_ns"] = int(value) * MILLISECOND
            else:
                options[name] = int(value)
        own = identity(me)
        self.now = 0
        self.machine = Swim(own, f"{own.node_id}:1", rng=Random(seed), options=make(**options))
        return []

    def _wait(self, until: Instant) -> list[str]:
        lines: list[str] = []
        while (deadline := self.machine.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            lines += self._feed(Wake())
        self.now = until
        return lines

    def _feed(self, event: SwimEvent) -> list[str]:
        effects = self.machine.handle(event, self.now)
        self.machine.invariants()
        return [f"{self.now / SECOND:.3f} {told(effect)}" for effect in effects]


# Reading -------------------------------------------------------------------------------------------------------------


def identity(text: str) -> Identity:
    node_id, _, generation = text.partition("/")
    return Identity(node_id, int(generation or 1))


def statement(text: str) -> tuple[Identity, int]:
    """`x.3` or `x/2.3`."""
    name, _, incarnation = text.partition(".")
    return identity(name), int(incarnation)


def updates(text: str) -> tuple[Update, ...]:
    return tuple(update(part.split()) for part in text.split(";") if part.strip())


def update(words: list[str]) -> Update:
    who, incarnation = statement(words[1])
    options = dict(zip(words[2::2], words[3::2], strict=True))
    state = State[words[0].upper()]
    if state is not State.ALIVE:
        return Update(who, incarnation, state, options.get("by", ""))
    address = options.get("at", f"{who.node_id}:1")
    return Update(who, incarnation, state, address=address, payload=options.get("with", "").encode())


def message(source: Identity, text: str) -> Message:
    kind, _, rest = text.partition(" ")
    if kind == "gossip":
        return Gossip(source, updates(rest))
    if kind == "records":
        return Records(source, updates(rest))
    number, _, rest = rest.partition(" ")
    match kind:
        case "ping":
            return Ping(source, int(number), Identity("me", 1), updates(rest))
        case "ack":
            return Ack(source, int(number), updates(rest))
        case "indirect-ack":
            return IndirectAck(source, int(number), updates(rest))
        case "nack":
            return Nack(source, int(number), updates(rest))
        case "ping-request":
            target = identity(rest)
            return PingRequest(source, int(number), target, f"{target.node_id}:1")
    words = [None if word == "-" else word for word in rest.replace(";", "").split()]
    if kind == "sync-reply":
        return SyncReply(source, int(number), tuple(word or "" for word in words[1:]), words[0])
    assert kind == "sync-request", text
    digests = tuple(Digest(*statement(word or ""), State.ALIVE) for word in words[2:])
    return SyncRequest(source, int(number), words[0] or "", words[1], digests)


# Telling -------------------------------------------------------------------------------------------------------------


def told(effect: SwimEffect) -> str:
    match effect:
        case Send():
            return f"-> {effect.to} {said(effect.message)}"
        case MemberAlive():
            before = "new" if effect.previous is None else f"was {effect.previous.name.lower()}"
            return f"MemberAlive {effect.member} ({before})"
        case MemberDead():
            return f"MemberDead {effect.member}{' (replaced)' if effect.replaced else ''}"
        case MemberUpdated():
            return f"MemberUpdated {effect.member} with {effect.member.payload.decode()}"
        case MemberSuspected() | MemberLeft():
            return f"{type(effect).__name__} {effect.member}"
        case MemberConflict():
            return f"MemberConflict {effect.member} and {effect.address}"
        case Joined():
            return f"Joined through {effect.contact}"
        case Departed():
            return "Departed"
        case Defunct():
            return f"Defunct: {effect.reason}"
        case Reply():
            return f"Reply {effect.result}"
        case Note():
            return f"Note {effect.severity.name}: {effect.text}"
        case _:
            assert_never(effect)


def said(one: Message) -> str:
    news = "; ".join(map(str, one.updates))
    match one:
        case Ping():
            head = f"ping {one.number} {one.target}"
        case PingRequest():
            head = f"ping-request {one.number} {one.target} at {one.address}"
        case Ack():
            head = f"ack {one.number}"
        case IndirectAck():
            head = f"indirect-ack {one.number}"
        case Nack():
            head = f"nack {one.number}"
        case Gossip() | Records():
            head = type(one).__name__.lower()
        case SyncRequest():
            digests = "; ".join(map(str, one.digests))
            head = f"sync-request {one.number} from {one.after or '-'} to {one.upto or '-'}: {digests}"
        case SyncReply():
            head = f"sync-reply {one.number} covered {one.covered or '-'}, wants {' '.join(one.wants) or '-'}"
        case _:
            assert_never(one)
    return f"{head} [{news}]" if news else head


def main() -> None:
    for file in files():
        file.write_text(replay(file.read_text()))


if __name__ == "__main__":
    main()
