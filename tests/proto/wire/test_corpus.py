"""The corpus of nasty inputs: each gives what its file says, in bounded time and memory, and none finds a bug.

Rules 2, 3, 8, 10, 12, 16, 20 to 26; K-01, K-03 to K-13, K-15, K-17, K-20, K-22. How each was made is in
`tests/fuzz/corpus.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from casty_proto.wire import (
    HANDSHAKE_FRAME_MAX,
    Connected,
    DecodeError,
    Decoder,
    Dialer,
    FrameDecoder,
    FrameError,
    HandshakeOptions,
    HandshakeRefused,
    Kind,
    Listener,
    Received,
    Send,
)
from tests.fuzz import codec, corpus, handshake
from tests.fuzz.codec import fuzz_codec
from tests.fuzz.envelopes import fuzz_envelopes
from tests.fuzz.frames import fuzz_frames
from tests.fuzz.handshake import fuzz_handshake
from tests.fuzz.nasty import CORPUS, FOLDERS, Nasty, read

from .test_rubbish import bounded

FILES = [read(path) for folder in FOLDERS for path in sorted((CORPUS / folder).glob("*.hex"))]
LIMIT = 2**20


def decoded(*bodies: bytes) -> str:
    """What comes of the last body."""
    decoder, verdict = Decoder(codec.types(strict=False), codec.WIDE), ""
    for body in bodies:
        try:
            decoder.decode(body)
            verdict = "value"
        except DecodeError as error:
            verdict = f"{type(error).__name__}: {error}"
    return verdict


def cut(data: bytes) -> str:
    decoder = FrameDecoder(LIMIT)
    try:
        return f"{len(decoder.feed(data))} bodies, {decoder.buffered} bytes kept"
    except FrameError as error:
        return f"{len(error.frames)} bodies, FrameError: {error}"


def come_to(nasty: Nasty) -> str:
    options = handshake.SECURE if nasty.name.startswith("secured") else HandshakeOptions("shop")
    listener = Listener(corpus.B, options, b"l" * 32)
    dialer = Dialer(corpus.A, Kind.DATA, options, b"d" * 32)
    return f"listener {_came_to(listener, nasty.data)}, dialer {_came_to(dialer, nasty.data)}"


def _came_to(end: Dialer | Listener, data: bytes) -> str:
    effects = end.handle(Connected(), 0)
    frames = FrameDecoder(HANDSHAKE_FRAME_MAX)
    try:
        bodies = frames.feed(data)
    except FrameError as error:
        bodies = error.frames
    for body in bodies:
        effects += end.handle(Received(body), 0)
    last = [effect for effect in effects if not isinstance(effect, Send)]
    assert len(last) <= 1
    if not last:
        return "waits"
    return last[0].reason.name if isinstance(last[0], HandshakeRefused) else type(last[0]).__name__


VERDICTS: dict[str, Callable[[Nasty], str]] = {
    "bodies": lambda nasty: decoded(nasty.data),
    "connections": lambda nasty: decoded(*FrameDecoder(LIMIT).feed(nasty.data)),
    "frames": lambda nasty: cut(nasty.data),
    "handshakes": come_to,
}


@pytest.mark.parametrize("nasty", FILES, ids=lambda nasty: f"{nasty.folder}-{nasty.name}")
def test_rule_16_each_input_of_the_corpus_gives_what_its_file_says(nasty: Nasty) -> None:
    with bounded(60, 5):
        got = VERDICTS[nasty.folder](nasty)
    kind, _, text = nasty.verdict.partition(": ")
    assert got.startswith(kind)
    assert text in got


@pytest.mark.parametrize("nasty", FILES, ids=lambda nasty: f"{nasty.folder}-{nasty.name}")
def test_rule_16_k_20_no_input_of_the_corpus_finds_a_bug(nasty: Nasty) -> None:
    with bounded(200, 20):
        fuzz_frames(nasty.data)
        fuzz_handshake(nasty.data)
        fuzz_codec(nasty.data)
        fuzz_envelopes(nasty.data)


def test_the_files_are_those_that_the_corpus_is_made_of() -> None:
    made = {nasty.path.relative_to(CORPUS).as_posix(): nasty.text for nasty in corpus.ALL}
    found = {path.relative_to(CORPUS).as_posix(): path.read_text() for path in CORPUS.rglob("*.hex")}
    assert len(made) == len(corpus.ALL), "two inputs have one name"
    assert found == made, "write it anew with: python -m tests.fuzz.corpus"
