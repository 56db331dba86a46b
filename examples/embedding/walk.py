"""A walk through one machine: events in, effects out, and nothing else.

Run it: python -m examples.embedding.walk

It is Raft on server "a", which shares a cluster with "b". Nothing is sent, written or awaited: the instants and the
answers of "b" are made up here, and the disk is done when we say so. The guide beside this file shows what it prints.
"""

from random import Random

from casty_proto import raft
from casty_proto.machine import Instant, Persisted, Wake, seconds


def walk() -> None:
    """One election and one command, in twenty lines."""
    records = raft.bootstrap(raft.Configuration(("a", "b")))
    server = raft.Raft("a", Random(7), recovered=raft.recover(records))

    def feed(event: raft.RaftEvent, now: Instant) -> Instant:
        print(f"{seconds(now):.2f}s {event}")
        for effect in server.handle(event, now):
            print(f"   -> {effect}")
        return server.deadline() or now

    due = feed(raft.Start(), 0)
    feed(Wake(), due // 2)
    feed(Wake(), due)
    feed(raft.Received("b", raft.Vote(term=1, granted=True, pre=True)), due)
    feed(Persisted(1), due)
    feed(raft.Received("b", raft.Vote(term=1, granted=True)), due)
    feed(raft.Propose((raft.Proposal("request 1", raft.Command(b"x=1")),)), due)
    feed(raft.Received("b", raft.AppendAccepted(term=1, match=2)), due)
    feed(Persisted(3), due)
    feed(raft.TransferLeadership("request 2", "c"), due)
    feed(raft.Received("b", "rubbish"), due)


if __name__ == "__main__":
    walk()
