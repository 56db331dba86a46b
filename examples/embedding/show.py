"""What the two drivers are run for: three nodes as processes, and what is to be seen of them.

Without arguments a driver's program is the show: it starts itself three times, waits until it has heard what it waits
for, never for a length of time, and ends with 0 only if all of it has come. With arguments it is one node:

    python -m examples.embedding.threads_driver HOST:PORT FOLDER MEMBER...

A node says what happens to it in lines of JSON. It is told what to do over a connection, as the nodes tell each other:
a frame with the name of who speaks, then one for each message. It ends when the show has ended, however that went.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from queue import Empty, Queue
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic, time_ns
from typing import Any

from casty_proto.machine import Machine
from casty_proto.wire import Encoder

from .journal import Journal
from .node import OPTIONS, Effect, Event, Node, Said, wire_types

type Tell = Callable[[Said], None]
type Run = Callable[[Machine[Event, Effect], str, Journal, Tell], None]
"""A driver: the machine, the address at which to listen, the file, and whom to tell what was said."""

PATIENCE = 40.0
"""How many seconds there are for all of it. It takes a few."""


def main(module: str, run: Run) -> int:
    """The program of a driver: the show, or one node of it. Returns the exit status."""
    if len(sys.argv) > 1:
        me, folder, *members = sys.argv[1:]
        return be_a_node(run, me, Path(folder), tuple(members))
    with TemporaryDirectory() as folder:
        show = Show(module, Path(folder))
        try:
            return show.run()
        finally:
            show.end()


# -- a node ------------------------------------------------------------------------------------------------------------


def be_a_node(run: Run, me: str, folder: Path, members: tuple[str, ...]) -> int:
    """Run one node until it has left. What stops it otherwise is raised, and so the exit status is not 0."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    with closing(Journal(folder / f"{me.replace(':', '-')}.log", members)) as journal:
        # The time of the start is a generation that is higher than in any life before.
        node = Node(me, members, journal.records, time_ns(), Random())
        run(node, me, journal, lambda said: print(json.dumps([said.kind, said.text]), flush=True))
    return 0


def end_with_parent() -> None:
    """The other end of our input is closed when the process that started us has ended, also by SIGKILL."""
    while os.read(sys.stdin.fileno(), 1):
        continue
    os._exit(0)


# -- the show ----------------------------------------------------------------------------------------------------------


class Show:
    """The processes, and what they have said."""

    def __init__(self, module: str, folder: Path) -> None:
        self.module = module
        self.folder = folder
        self.nodes = {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(free_ports(3), 1)}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.listeners: list[threading.Thread] = []
        self.heard: Queue[tuple[str, str, str]] = Queue()
        self.leaders: dict[str, tuple[int, str]] = {}
        """Whom each node takes for the leader, and in which term."""
        self.members: dict[tuple[str, str], str] = {}
        """What a node believes of another one: alive, suspect, dead or left."""
        self.applied: dict[tuple[str, str], None] = {}
        self.answers: list[str] = []
        self.ending: dict[str, None] = {}
        """The nodes that were killed, or asked to leave. That another one ends is the end of the show."""
        self.ended: dict[str, None] = {}
        self.ends_at = monotonic() + PATIENCE

    def run(self) -> int:
        """All of it, step by step. Returns the exit status."""
        self.say("show", f"three processes, each a node of SWIM and Raft, driven by {self.module}")
        for name in self.nodes:
            self.start(name)
        self.until("each knows the two others alive", self.all_believe(self.nodes, "alive"))
        leader = self.elected()
        self.propose("colour=blue", leader)

        self.ending[leader] = None
        self.processes[leader].kill()
        self.say("show", f"{leader} was killed with SIGKILL")
        self.until(f"{leader} has ended", lambda: leader in self.ended)
        alive = [name for name in self.nodes if name != leader]
        for name in self.nodes:
            self.forget(name, leader)
        self.until(f"SWIM: the others know that {leader} is dead", self.all_believe([leader], "dead"))
        self.propose("colour=green", self.elected())

        self.say("show", f"{leader} is started again, with its file")
        self.start(leader)
        self.until(f"{leader} is alive again", self.all_believe([leader], "alive"))
        self.until(f"{leader} has caught up", lambda: (leader, "colour=green") in self.applied)

        self.say("show", "all are asked to leave")
        for name in (leader, *alive):
            self.ending[name] = None
            self.tell(name, ("leave",))
            self.processes[name].wait(PATIENCE)
        statuses = [process.returncode for process in self.processes.values()]
        self.say("show", f"exit statuses {statuses}")
        return max(statuses, key=abs)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def elected(self) -> str:
        """The node that all who run take for the leader, in one term."""

        def agreed() -> bool:
            seen = {self.leaders.get(name) for name in self.running()}
            return len(seen) == 1 and None not in seen and self.leaders[self.running()[0]][1] in self.running()

        self.until("Raft: all agree on who leads", agreed)
        term, leader = self.leaders[self.running()[0]]
        self.say("show", f"{leader} leads in term {term}")
        return leader

    def propose(self, text: str, leader: str) -> None:
        """Have something applied by all who run. Where the leader is no more, the next one is asked."""
        while True:
            self.answers.clear()
            self.tell(leader, ("set", text))
            self.until(f"an answer to {text}", lambda: bool(self.answers))
            if "committed" in self.answers[0]:
                break
            leader = self.elected()
        self.until(f"{text} is applied by all", lambda: all((name, text) in self.applied for name in self.running()))

    def all_believe(self, subjects: Iterable[str], state: str) -> Callable[[], bool]:
        """Whether everybody who runs believes this of every one of the subjects."""
        pairs = [(by, of) for by in self.running() for of in subjects if by != of]
        return lambda: all(self.members.get(pair) == state for pair in pairs)

    def forget(self, name: str, killed: str) -> None:
        """What was said of a leader, and by a node, before a kill counts no more."""
        if name == killed or self.leaders.get(name, (0, ""))[1] == killed:
            self.leaders.pop(name, None)

    def until(self, what: str, seen: Callable[[], bool]) -> None:
        """Listen until it has been seen. Raises `SystemExit` when the time for the whole show is over."""
        while not seen():
            try:
                self.hear(*self.heard.get(timeout=max(0.0, self.ends_at - monotonic())))
            except Empty:
                raise SystemExit(f"not seen within {PATIENCE:.0f} seconds: {what}") from None
        self.say("seen", what)

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start one of our own programs."""
        command = [sys.executable, "-m", self.module, self.nodes[name], str(self.folder), *self.nodes.values()]
        pipe = subprocess.PIPE
        self.processes[name] = process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8")

        def listen() -> None:
            # It ends, and both pipes are closed, when the process has.
            with process:
                for line in process.stdout or ():
                    kind, text = json.loads(line)
                    self.heard.put((name, kind, text))
            self.heard.put((name, "ended", f"with status {process.returncode}"))

        self.ending.pop(name, None)
        self.ended.pop(name, None)
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        self.listeners.append(listener)

    def running(self) -> list[str]:
        """Who has not ended."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def tell(self, name: str, message: tuple[Any, ...]) -> None:
        """Send one message to a node, from somebody who is none."""
        host, _, port = self.nodes[name].rpartition(":")
        encoder = Encoder(wire_types(), OPTIONS)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(encoder.encode_frame("show") + encoder.encode_frame(message))

    def hear(self, name: str, kind: str, text: str) -> None:
        """What a node has said."""
        for other, address in self.nodes.items():
            text = text.replace(address, other)
        self.say(name, f"{kind:<8}{text}")
        match kind, text.split():
            case "role", [_, "in", "term", term, "under", leader]:
                self.leaders[name] = (int(term), leader)
            case "member", [state, other]:
                self.members[name, other] = state
            case "applied", _:
                self.applied[name, text] = None
            case "answer", _:
                self.answers.append(text)
            case "ended", _ if name in self.ending:
                self.ended[name] = None
            case "ended", _:
                raise SystemExit(f"{name} has ended, and nobody had asked it to; what it says about that is above")

    def say(self, who: str, text: str) -> None:
        """A line for people."""
        print(f"{who:<5} {text}", flush=True)

    def end(self) -> None:
        """End what still runs, by its id."""
        for process in self.processes.values():
            process.kill()
        for listener in self.listeners:
            listener.join()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
