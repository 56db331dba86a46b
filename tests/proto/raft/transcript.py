"""Transcripts: a text of commands goes in, and the same text comes out with what happened under each of them.

    > time out n1                      a command
        n1 is candidate of term 1      what it led to, and what that led to
        n1 to n2: RequestVote ...      a message, when it arrives; under it, indented, what it did there

The texts in `transcripts` are compared with what comes out. After a change that is meant, write them again with
`python -m tests.proto.raft.transcript`, and read the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve

from casty_proto.machine import MILLISECOND, Note, Persist, Reply
from casty_proto.raft import (
    AddLearner,
    AddVoter,
    Append,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Apply,
    Ballot,
    Base,
    Changed,
    Command,
    Committed,
    Configuration,
    ConfigurationChanged,
    Entry,
    Forwarded,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RaftEffect,
    ReadReady,
    Remove,
    RequestVote,
    Restore,
    RoleChanged,
    SaveSnapshot,
    SnapshotReply,
    SteppedDown,
    Vote,
)

from .bench import OPTIONS, Cluster, Host, Packet, records_of

FOLDER = Path(__file__).parent / "transcripts"


class Transcript:
    """Plays one text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.options = OPTIONS
        self.logs: dict[str, list[int]] = {}
        self.cluster: Recorded | None = None

    def play(self, text: str) -> str:
        """The text, with what happens under each of its commands."""
        for line in text.splitlines():
            if not line.startswith(("#", ">")):
                continue
            if self.lines and self.lines[-1].startswith(" "):
                self.lines.append("")
            self.lines.append(line)
            if line.startswith(">"):
                self.command(line[1:].split())
        return "\n".join(self.lines) + "\n"

    def say(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def command(self, words: list[str]) -> None:
        match words:
            case ["option", name, value]:
                changes: dict[str, Any] = {name: int(value) if value.isdigit() else value == "yes"}
                self.options = evolve(self.options, **changes)
            case ["log", name, *terms]:
                self.logs[name] = list(map(int, terms))
            case ["servers", *names]:
                voters = [name for name in names if not name.endswith("?")]
                every = [name.rstrip("?") for name in names]
                records = {name: records_of(voters, terms) for name, terms in self.logs.items()}
                self.cluster = Recorded(self, every, voters, records)
            case _:
                assert self.cluster is not None, f"no servers before {words}"
                self.on(self.cluster, words)

    def on(self, cluster: Recorded, words: list[str]) -> None:
        match words:
            case ["time", "out", name]:
                cluster.time_out(name)
                cluster.settle()
            case ["advance", duration]:
                cluster.advance(int(duration) * MILLISECOND)
            case ["propose", name, *data]:
                cluster.commit(name, *[item.encode() for item in data])
            case ["read", name]:
                cluster.read(name)
                cluster.settle()
            case ["transfer", name, target]:
                cluster.transfer(name, target)
                cluster.settle()
            case ["change", name, *changes]:
                kinds = {"+": AddVoter, "~": AddLearner, "-": Remove}
                cluster.change(name, *[kinds[change[0]](change[1:]) for change in changes])
                cluster.settle()
            case ["snapshot", name]:
                cluster.snapshot(name)
            case ["isolate", *names]:
                cluster.isolate(*names)
            case ["heal"]:
                cluster.heal()
            case ["crash", name]:
                cluster.crash(name)
            case ["restart", name]:
                cluster.restart(name)
                cluster.settle()
            case ["hold", "disk", name]:
                cluster.hosts[name].disk.held = True
            case ["release", "disk", name]:
                cluster.hosts[name].disk.held = False
                cluster.settle()
            case ["ahead", name, duration]:
                cluster.hosts[name].ahead += int(duration) * MILLISECOND
            case ["state"]:
                self.state(cluster)
            case _:
                raise AssertionError(f"no such command: {words}")
        cluster.check()

    def state(self, cluster: Cluster) -> None:
        for name, host in cluster.hosts.items():
            raft = host.raft
            if not host.up:
                self.say(f"{name} is down")
                continue
            log = " ".join(map(str, cluster.terms(name)))
            begins = f"after {raft.log.base_index}/{raft.log.base_term}: " if raft.log.base_index else ""
            self.say(f"{name} {raft.role.value} term {raft.term} commit {raft.commit} log {begins}{log or '-'}")


class Recorded(Cluster):
    """A cluster that tells what happens in it."""

    def __init__(
        self, transcript: Transcript, names: Iterable[str], voters: list[str], records: dict[str, Any]
    ) -> None:
        self.transcript = transcript
        super().__init__(*names, options=transcript.options, voters=voters, records=records)

    def deliver(self, packet: Packet) -> None:
        if packet.source != packet.target and self.hosts[packet.target].up:
            self.transcript.say(f"{packet.source} to {packet.target}: {describe(packet.message)}")
        self.transcript.depth += 1
        super().deliver(packet)
        self.transcript.depth -= 1

    def _perform(self, host: Host, effect: RaftEffect) -> None:
        text = tell(effect)
        if text is not None:
            self.transcript.say(f"{host.name} {text}")
        super()._perform(host, effect)


def tell(effect: RaftEffect) -> str | None:
    """What a server does, or `None` for what is told elsewhere."""
    match effect:
        case Persist(record=Ballot(term=term, vote=vote)):
            return f"writes: term {term}, vote for {vote or 'nobody'}"
        case Persist(record=Append(entries=entries)):
            return f"writes: {entries_of(entries)}"
        case Persist(record=SaveSnapshot(snapshot=snapshot)):
            return f"writes: snapshot {snapshot.index}/{snapshot.term} of {members(snapshot.configuration)}"
        case Persist(record=Base(index=index, term=term)):
            return f"writes: the log begins after {index}/{term}"
        case Apply(entries=entries):
            return f"applies: {entries_of(entries)}"
        case Restore(index=index, term=term):
            return f"restores: {index}/{term}"
        case RoleChanged(role=role, term=term, leader=leader):
            return f"is {role.value} of term {term}" + (f", led by {leader}" if leader else "")
        case ConfigurationChanged(index=index, configuration=configuration, committed=committed):
            return f"has the configuration {members(configuration)}" + (", committed" if committed else "")
        case Reply(request=request, result=result):
            return f"answers {request}: {answer(result)}"
        case Note(text=text):
            return f"notes: {text}"
        case _:
            return None


def answer(result: Any) -> str:
    match result:
        case Committed(index=index):
            return f"committed at {index}"
        case ReadReady(index=index):
            return f"may be read at {index}"
        case Changed(index=index, configuration=configuration):
            return f"changed at {index} to {members(configuration)}"
        case Forwarded(leader=leader):
            return f"passed on to {leader}"
        case SteppedDown(term=term):
            return f"leads no more in term {term}"
        case _:
            return f"{type(result).__name__}: {result.reason}"


def describe(message: Any) -> str:
    """A message in one line."""
    match message:
        case AppendEntries(prev_index=index, prev_term=term, entries=entries, commit=commit):
            what = entries_of(entries) or "nothing"
            return f"AppendEntries {message.term}: after {index}/{term} {what}, commit {commit}"
        case AppendAccepted(match=match):
            return f"AppendAccepted {message.term}: up to {match}"
        case AppendRejected(prev_index=index, hint_index=hint, hint_term=term):
            return f"AppendRejected {message.term}: not {index}, perhaps {hint}/{term}"
        case Heartbeat(commit=commit, round=number):
            return f"Heartbeat {message.term}: commit {commit}" + (f", round {number}" if number else "")
        case HeartbeatReply(round=number):
            return f"HeartbeatReply {message.term}: round {number}"
        case RequestVote(last_index=index, last_term=term, pre=pre, transfer=transfer):
            kind = "RequestPreVote" if pre else "RequestVote"
            return f"{kind} {message.term}: last {index}/{term}" + (", by order" if transfer else "")
        case Vote(granted=granted, pre=pre):
            return f"{'PreVote' if pre else 'Vote'} {message.term}: {'yes' if granted else 'no'}"
        case InstallSnapshot(index=index, snapshot_term=term, offset=offset, size=size, data=data):
            return f"InstallSnapshot {message.term}: {index}/{term}, bytes {offset}..{offset + len(data)} of {size}"
        case SnapshotReply(index=index, received=received):
            return f"SnapshotReply {message.term}: {index}, {received} bytes"
        case _:
            fields = [f"{slot} {getattr(message, slot)}" for slot in message.__match_args__[1:] if slot != "id"]
            return f"{type(message).__name__} {message.term}" + (": " + ", ".join(fields) if fields else "")


def entries_of(entries: tuple[Entry, ...]) -> str:
    return " ".join([f"{entry.index}/{entry.term}({payload(entry)})" for entry in entries])


def payload(entry: Entry) -> str:
    match entry.payload:
        case Command(data=data):
            return data.decode()
        case Configuration() as configuration:
            return members(configuration)
        case other:
            return type(other).__name__


def members(configuration: Configuration) -> str:
    return "[" + " ".join([*configuration.voters, *[f"{learner}?" for learner in configuration.learners]]) + "]"


def played(path: Path, write: Callable[[str], object] | None = None) -> tuple[str, str]:
    """What stands in a file, and what should."""
    expected = path.read_text(encoding="utf-8")
    actual = Transcript().play(expected)
    if write is not None and actual != expected:
        write(actual)
    return expected, actual


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.txt")):
        played(file, lambda text, file=file: file.write_text(text, encoding="utf-8"))  # type: ignore[misc]
