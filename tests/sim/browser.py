"""Chromium without a window, driven over a pipe with its own protocol (DevTools), for tests of pages.

Nothing but the browser is needed, and no port is opened: requests and answers are JSON, each ended by a zero byte, on
the descriptors 3 and 4 of the browser.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 60.0
"""How long an answer may take before the browser counts as hung."""
# The descriptors are put in their places in the child, and not here, where they may be taken.
LAUNCH = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The path of a Chromium, or `None`."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(RuntimeError):
    """The browser has refused a request, ended, or does not answer; or a script on the page has thrown."""


class Browser:
    """One browser with one page. Use it in a `with` statement."""

    def __init__(self, path: str, folder: Path, width: int = 1400, height: int = 900) -> None:
        """`folder` is empty, and becomes that of the profile."""
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        arguments = [path, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(to_child), str(from_child), *arguments],
            pass_fds=(to_child, from_child),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._in, selectors.EVENT_READ)
        self._buffer = b""
        self._serial = 0
        self._session = ""
        self.complaints: list[str] = []
        """What the page has written to its console as warnings and errors, and what it has thrown."""

    def __enter__(self) -> Self:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        with suppress(BrowserError):
            self.ask("Browser.close")
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        os.close(self._in)
        os.close(self._out)

    # -- the protocol ------------------------------------------------------------------------------------------------

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One request, and its answer. Raises `BrowserError`."""
        self._serial += 1
        request = {"id": self._serial, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        data = json.dumps(request).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError as error:
            raise BrowserError(f"the browser has ended before {method} was asked") from error
        while True:
            message = self._read(method)
            if message.get("id") == self._serial:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._hear(message)

    def _read(self, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not self._selector.select(ANSWER_SECONDS):
                raise BrowserError(f"no answer to {waiting_for} within {ANSWER_SECONDS:g} s")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrowserError(f"the browser has ended while {waiting_for} was asked")
            self._buffer += data
        first, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(first))

    def _hear(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" if parameters["type"] in ("warning", "error", "assert"):
                self.complaints.append(f"console: {parameters['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"thrown: {parameters['exceptionDetails']}")
            case "Log.entryAdded" if parameters["entry"]["level"] in ("warning", "error"):
                self.complaints.append(f"log: {parameters['entry']['text']}")

    # -- what a person does ------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Go to an address, and wait until the report has been drawn."""
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)
        self.until("globalThis.report?.frames > 0 && !report.pending")

    def run(self, script: str) -> Any:
        """The value of an expression on the page. Raises `BrowserError` with what it throws."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true. Raises `BrowserError` when it never is."""
        end = time.monotonic() + ANSWER_SECONDS
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > end:
                raise BrowserError(f"never true: {script}; complaints: {self.complaints}")
            time.sleep(0.02)

    def painted(self, act: Callable[[], object]) -> None:
        """Do something, and wait until the page has been painted anew."""
        frames = self.run("report.frames")
        act()
        self.until(f"report.frames > {frames} && !report.pending")

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key, by its name in the protocol. `text` is what it writes."""
        code = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}.get(
            key, 0
        )
        down = {"type": "keyDown" if text else "rawKeyDown", "key": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Type a text into whatever has the focus."""
        for each in text:
            self.press(each, each)

    def wheel(self, x: float, y: float, by: float) -> None:
        """Turn the wheel at a point of the page; a negative number is away from oneself."""
        self.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button at a point of the page."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, x: float, y: float, to: float) -> None:
        """Move the pointer with the left button held, sideways."""
        self.ask("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for part in (0.3, 0.7, 1.0):
            at = x + (to - x) * part
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=at, y=y, button="left", buttons=1)
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=to, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
