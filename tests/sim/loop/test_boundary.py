"""The boundary: what is in its tables raises with the text of the table, and the documentation has the same tables."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from casty_sim import boundary
from casty_sim.boundary import ELSEWHERE, LOOP, NARROWER, page
from casty_sim.loop import NotSimulatedError, SimLoop

from .kit import alone, world

ROOT = Path(__file__).parents[3]


def test_the_document_is_what_the_code_says() -> None:
    assert (ROOT / "casty_sim/BOUNDARY.md").read_text(encoding="utf-8") == page(), (
        "write it anew: Path('casty_sim/BOUNDARY.md').write_text(casty_sim.boundary.page())"
    )
    assert "casty_sim/BOUNDARY.md" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(LOOP))
def test_methods_of_the_loop_that_are_refused(name: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotSimulatedError) as caught:
            getattr(loop, name)("anything", 1, more=2)
        assert str(caught.value) == LOOP[name].words(f"loop.{name}")

    alone(main)


async def _connect_with_tls() -> None:
    await asyncio.open_connection("localhost", 1, ssl=True)


async def _serve_with_tls() -> None:
    await asyncio.start_server(lambda *_: None, "localhost", 1, ssl=True)


async def _submit_to_processes() -> None:
    with concurrent.futures.ProcessPoolExecutor() as pool:
        pool.submit(print)


async def _submit_to_threads() -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(print)


async def _run_in_processes() -> None:
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        await loop.run_in_executor(pool, print)


async def _from_another_thread() -> None:
    loop, caught = asyncio.get_running_loop(), []

    def call() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except NotSimulatedError as error:
            caught.append(error)
        done.release()

    done = threading.Lock()
    done.acquire()
    # A thread that the simulation knows nothing of.
    original_start = threading.Thread.start.__closure__
    assert original_start is not None
    start = next(
        cell.cell_contents for cell in original_start if getattr(cell.cell_contents, "__name__", "") == "start"
    )
    thread = threading.Thread(target=call)
    thread._started.wait = lambda timeout=None: True  # type: ignore[attr-defined]
    start(thread)
    done.acquire()
    raise caught[0]


async def _second_loop() -> None:
    async def nothing() -> None:
        """Is not run."""

    coroutine = nothing()
    try:
        await asyncio.to_thread(asyncio.run, coroutine)
    finally:
        coroutine.close()


async def _new_loop() -> None:
    asyncio.new_event_loop()


async def _wait_for_a_thread() -> None:
    await asyncio.to_thread(threading.Event().wait)


async def _kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _handle_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def _reader() -> None:
    asyncio.get_running_loop().add_reader(0, print)


def _of_a_socket(call: Callable[[socket.socket], object]) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        with socket.socket() as sock:
            call(sock)

    return work


def _sync(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        call()

    return work


def _in_a_thread(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        await asyncio.to_thread(call)

    return work


async def _connect_with_another_socket() -> None:
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=cast(Any, object()))


async def _serve_with_another_socket() -> None:
    await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=cast(Any, object()))


CALLS: dict[str, list[Callable[[], Awaitable[None]]]] = {
    "ssl=": [_connect_with_tls, _serve_with_tls],
    "multiprocessing": [_sync(lambda: multiprocessing.Process(target=print).start())],
    "os.fork": [_sync(lambda: os.fork()), _sync(lambda: os.forkpty())],
    "os._exit": [_sync(lambda: os._exit(3)), _in_a_thread(lambda: os._exit(0))],
    "os.abort": [_sync(lambda: os.abort())],
    "os.exec": [
        _sync(lambda: os.execv("/bin/true", ["true"])),
        _sync(lambda: os.execle("/bin/true", "true", {})),
        _sync(lambda: os.execvp("true", ["true"])),
    ],
    "os.kill": [_kill, _sync(lambda: os.killpg(1, 0))],
    "signal.raise_signal": [
        _sync(lambda: signal.raise_signal(signal.SIGTERM)),
        _sync(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)),
        _sync(lambda: _thread.interrupt_main()),
    ],
    "signal.signal": [_handle_signals, _sync(lambda: signal.alarm(1))],
    "subprocess.Popen": [
        _sync(lambda: subprocess.Popen(["true"])),
        _sync(lambda: os.posix_spawn("/bin/true", ["true"], {})),
        _sync(lambda: os.posix_spawnp("true", ["true"], {})),
        _sync(lambda: subprocess.run(["true"], check=True)),
        _sync(lambda: os.system("true")),
    ],
    "threading.Thread.start": [_sync(lambda: threading.Thread(target=print).start())],
    "threading.Condition.wait": [
        _wait_for_a_thread,
        _sync(lambda: queue.Queue[int]().get()),
        _sync(lambda: concurrent.futures.Future[int]().result(timeout=1)),
    ],
    "concurrent.futures.Executor.submit": [_submit_to_threads, _submit_to_processes],
    "a process pool": [_run_in_processes],
    "call_soon_threadsafe from another thread": [_from_another_thread],
    "asyncio.run": [_second_loop, _new_loop],
    "a Unix socket": [_sync(lambda: socket.socket(socket.AF_UNIX))],
    "socket.socketpair": [_sync(lambda: socket.socketpair())],
    "time.sleep": [_sync(lambda: time.sleep(1))],
    "socket.recv": [_of_a_socket(lambda sock: sock.recv(1))],
    "socket.send": [_of_a_socket(lambda sock: sock.send(b"x")), _of_a_socket(lambda sock: sock.sendall(b"x"))],
    "socket.connect": [_of_a_socket(lambda sock: sock.connect(("10.0.0.1", 1)))],
    "add_reader of another descriptor": [_reader],
    "sock= of another socket": [_connect_with_another_socket, _serve_with_another_socket],
}
FROM_INSIDE: dict[str, Callable[[], Awaitable[None]]] = {
    "loop.stop": _sync(lambda: asyncio.get_running_loop().stop()),
    "writing to a file of another disk": _sync(lambda: Path("/of another disk").write_text("x")),
}


@pytest.mark.parametrize(("what", "number"), [(what, at) for what, calls in CALLS.items() for at in range(len(calls))])
def test_what_is_refused_elsewhere(what: str, number: int) -> None:
    async def main() -> None:
        with pytest.raises(NotSimulatedError) as caught:
            await CALLS[what][number]()
        assert str(caught.value) == ELSEWHERE[what].words(what)

    alone(main)


@pytest.mark.parametrize("what", FROM_INSIDE)
def test_what_is_refused_to_hosts(what: str) -> None:
    async def main(sim: Any) -> None:
        with pytest.raises(NotSimulatedError) as caught:
            await FROM_INSIDE[what]()
        assert ELSEWHERE[what].why in str(caught.value)
        assert ELSEWHERE[what].instead in str(caught.value)

    world(main)


def test_every_line_of_the_table_is_tried() -> None:
    assert {*CALLS, *FROM_INSIDE} == set(ELSEWHERE)


def test_no_method_is_refused_that_the_table_does_not_have() -> None:
    refused = {name for name in vars(boundary.Refusals) if not name.startswith("_")}
    assert refused == set(LOOP)
    assert all(getattr(SimLoop, name) is getattr(boundary.Refusals, name) for name in refused)


def test_what_is_narrower_has_words() -> None:
    assert all(how.endswith(".") for how in NARROWER.values())


def test_outside_of_a_simulation_all_of_it_works() -> None:
    alone(_sync(lambda: None))
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: 5).result() == 5
    assert subprocess.run(["true"], check=True).returncode == 0
    with socket.socket() as sock:
        assert type(sock) is socket.socket
    asyncio.run(asyncio.sleep(0))
