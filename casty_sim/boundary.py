"""Where the simulation ends: what it does not simulate, why, and what to do instead.

Whatever is not simulated raises `NotSimulatedError` where it is called. Nothing is let through to the machine on which
the simulation runs: a packet that left the simulated world, or a thread beside it, would make a run another one each
time, and nobody would see why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from attrs import frozen


class NotSimulatedError(RuntimeError):
    """A program did something under simulation that is not simulated. The call had no effect."""


@frozen
class Absent:
    """One thing that is not simulated."""

    why: str
    instead: str

    def words(self, what: str) -> str:
        """For whoever runs into it."""
        return f"{what} is not simulated: {self.why}. {self.instead}"


_SOCKETS = Absent(
    "the simulated network carries the connections of asyncio's transports, and nothing else",
    "Use create_connection, create_server, or the streams of asyncio; give a client that blocks a stand-in",
)
_PIPES = Absent(
    "what is at the other end of a pipe is outside of the world", "Give the program its input as an argument"
)
_PROCESSES = Absent("another process is outside of the world", "Start another host, or test the caller with a stand-in")
_DATAGRAMS = Absent("only connections are", "Use create_connection, or drive the protocol's machine in a World")
_TLS = Absent("its bytes are random in every run", "Leave tls out under simulation, and test it on real sockets")
_THREADS = Absent(
    "its steps would come at other instants in every run",
    "Use asyncio.to_thread or loop.run_in_executor, which run as steps of the simulation",
)
_SIGNALS = Absent(
    "it would concern the process that runs the simulation",
    "Use loop.add_signal_handler, and have the test send the signal to the host",
)

_ENDS = Absent(
    "it would end the process that runs the simulation",
    "A test ends by returning or raising; in the program of a node it is simulated",
)

OUTSIDE = Absent(
    "a host has a disk of its own, and shares no files with others",
    "Use a path below the disk of the host, `node.disk`",
)

LOOP: dict[str, Absent] = {
    "add_writer": _SOCKETS,
    "connect_read_pipe": _PIPES,
    "connect_write_pipe": _PIPES,
    "create_datagram_endpoint": _DATAGRAMS,
    "create_unix_connection": _SOCKETS,
    "create_unix_server": _SOCKETS,
    "remove_writer": _SOCKETS,
    "sendfile": _SOCKETS,
    "sock_accept": _SOCKETS,
    "sock_connect": _SOCKETS,
    "sock_recv": _SOCKETS,
    "sock_recv_into": _SOCKETS,
    "sock_recvfrom": _SOCKETS,
    "sock_recvfrom_into": _SOCKETS,
    "sock_sendall": _SOCKETS,
    "sock_sendfile": _SOCKETS,
    "sock_sendto": _SOCKETS,
    "start_tls": _TLS,
    "subprocess_exec": _PROCESSES,
    "subprocess_shell": _PROCESSES,
}
"""Methods of the event loop that raise."""

ELSEWHERE: dict[str, Absent] = {
    "ssl=": _TLS,
    "multiprocessing": _PROCESSES,
    "os._exit": _ENDS,
    "os.abort": _ENDS,
    "os.exec": Absent(
        "it would take the place of the process that runs the simulation",
        "Return from the program, and have the test start the node with another one",
    ),
    "os.fork": _PROCESSES,
    "os.kill": _SIGNALS,
    "signal.raise_signal": _SIGNALS,
    "signal.signal": _SIGNALS,
    "subprocess.Popen": _PROCESSES,
    "threading.Thread.start": _THREADS,
    "threading.Condition.wait": Absent(
        "there is no other thread that could end the wait, which a result, an event, a queue or a barrier would be",
        "Wait with what asyncio has, or give a timeout in what an executor runs",
    ),
    "concurrent.futures.Executor.submit": _THREADS,
    "a process pool": _PROCESSES,
    "call_soon_threadsafe from another thread": _THREADS,
    "asyncio.run": Absent(
        "the host has its event loop already, and a function of an executor cannot have another",
        "Make the coroutine function a task of the host, or its program",
    ),
    "loop.stop": Absent(
        "the host has its event loop for as long as its program runs",
        "Return from the coroutine of the host, or have the test kill it",
    ),
    "time.sleep": Absent(
        "it would hold up every task of the host",
        "Use `await asyncio.sleep(...)`, or asyncio.to_thread(time.sleep, ...)",
    ),
    "socket.recv": _SOCKETS,
    "socket.send": _SOCKETS,
    "socket.connect": _SOCKETS,
    "socket.socketpair": _SOCKETS,
    "a Unix socket": _SOCKETS,
    "add_reader of another descriptor": _SOCKETS,
    "sock= of another socket": Absent(
        "a socket that was made outside of a host belongs to the machine under the simulation",
        "Make it in the program of the host, with socket.socket()",
    ),
    "writing to a file of another disk": OUTSIDE,
}
"""What raises elsewhere: functions of the standard library, and arguments."""


NARROWER: dict[str, str] = {
    "time": (
        "Callbacks take none: a computation, however long, ends at the instant at which it began. Wall clocks "
        "begin on the first of January 2000, in UTC; local time is that as well."
    ),
    "executors": (
        "A function runs all at once in the thread of the world, some drawn time after it was handed over, and "
        "its result comes some drawn time later. `time.sleep` in it, and waiting with a timeout, delay its "
        "result. It can wait for nothing that another function does. A lock that is taken already "
        "(`threading.Lock.acquire`) hangs the run."
    ),
    "IPv6": "Hosts have one address each, of version 4: `getaddrinfo` and sockets fail as on a host without IPv6.",
    "socket options": "They are remembered and change nothing.",
    "os._exit and os.abort": (
        "They end the program of a node, and of no other, as SIGKILL would: no other step of it runs, the system closes"
        " its connections, and files keep what was written. Only in the step that calls them its `finally` still run; "
        "what these write to files is undone, and what they send is not sent. Then it is as after `sys.exit` with that "
        "status, which is 134 for `os.abort`: one that is not 0 fails the test, if `restart_on` does not have "
        "`SystemExit`."
    ),
    "signals": "A host gets those that the test sends it. One without a handler kills the program.",
    "modules and globals": (
        "All hosts share them, as they share the process, and they survive a crash. What a host is to have to "
        "itself belongs into objects that its coroutine makes."
    ),
    "standard streams and the environment": "They are those of the process.",
    "sets of objects": (
        "A set of objects that do not define `__hash__` is in the order of their addresses, which is another one "
        "in every run. So is one of coroutines, functions or classes. Iterate over a list or a dict instead, sort"
        " it, or give the class a `__hash__`. Tasks and futures are told apart by numbers; sets of them are safe."
        " `python -m casty_sim check-determinism` finds the others by what follows from their order."
    ),
    "id, repr and hash": (
        "What `id` says of an object is its address. The hash of a text is another one for each process, and with"
        " it the order of a set of texts, if `PYTHONHASHSEED` is not set."
    ),
    "finalizers": (
        "`__del__` and callbacks of weak references run when the last reference goes, or, for cycles, at a moment"
        " that is the same in every run. What lost its power or was killed runs none until the world is over, but for"
        " cycles that it had dropped before. Module globals outlive it, and so does what they hold."
    ),
    "files": (
        "Times of files are those of the machine, and so is the order in which `os.scandir` lists; `os.listdir` "
        "sorts. Files that are opened by a class of `io`, or by another library than that of Python, are not "
        "seen."
    ),
    "functions that were kept": (
        "A function that was taken out of its module before the first simulation, as a default argument or in an "
        "object, is the original."
    ),
    "debug mode": "Slow callbacks are not reported, since none is slow.",
}
"""What is simulated in a narrower sense than a program may expect."""


def page() -> str:
    """The tables, for the documentation."""
    lines = [
        "# Where the simulation of applications ends",
        "",
        "Programs run unmodified on simulated hosts. What is not simulated raises `NotSimulatedError` where it is",
        "called, with the reason, and has no effect. Nothing is let through to the machine on which the simulation",
        "runs. These tables are made of `casty_sim/boundary.py`; what raises is tested line by line.",
        "",
    ]
    for title, table in (("Methods of the event loop", LOOP), ("Elsewhere", ELSEWHERE)):
        lines += [f"## {title}", "", "| not simulated | because | instead |", "|---|---|---|"]
        lines += [f"| `{what}` | {absent.why} | {absent.instead} |" for what, absent in table.items()]
        lines.append("")
    lines += ["## Simulated in a narrower sense", "", "| what | how |", "|---|---|"]
    lines += [f"| {what} | {how} |" for what, how in NARROWER.items()]
    return "\n".join(lines) + "\n"


def refuse(what: str, absent: Absent | None = None) -> NoReturn:
    """Raise `NotSimulatedError` for what is in one of the tables."""
    raise NotSimulatedError((absent or ELSEWHERE.get(what) or LOOP[what]).words(what))


def refusing(name: str) -> Callable[..., Any]:
    """A method that refuses."""

    def method(*_: Any, **__: Any) -> NoReturn:
        refuse(f"loop.{name}", LOOP[name])

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Not simulated: {LOOP[name].why}. {LOOP[name].instead}. Raises `NotSimulatedError`."
    return method


class Refusals:
    """The methods of an event loop that raise."""

    add_writer = refusing("add_writer")
    connect_read_pipe = refusing("connect_read_pipe")
    connect_write_pipe = refusing("connect_write_pipe")
    create_datagram_endpoint = refusing("create_datagram_endpoint")
    create_unix_connection = refusing("create_unix_connection")
    create_unix_server = refusing("create_unix_server")
    remove_writer = refusing("remove_writer")
    sendfile = refusing("sendfile")
    sock_accept = refusing("sock_accept")
    sock_connect = refusing("sock_connect")
    sock_recv = refusing("sock_recv")
    sock_recv_into = refusing("sock_recv_into")
    sock_recvfrom = refusing("sock_recvfrom")
    sock_recvfrom_into = refusing("sock_recvfrom_into")
    sock_sendall = refusing("sock_sendall")
    sock_sendfile = refusing("sock_sendfile")
    sock_sendto = refusing("sock_sendto")
    start_tls = refusing("start_tls")
    subprocess_exec = refusing("subprocess_exec")
    subprocess_shell = refusing("subprocess_shell")
