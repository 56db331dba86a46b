"""The fuzzing functions, with what Hypothesis makes up; and that they find what is wrong. K-02, K-03, K-17, K-19, K-20.

Each of the functions raises for a bug only, so a test that calls it asserts by that.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tests.fuzz.__main__ as command
from casty_proto.wire import Decoder, Encoder, FrameDecoder, handshake
from casty_proto.wire.envelopes import ASK, frame_two, numbers
from casty_proto.wire.messages import DIGEST_SIZE
from tests.fuzz import codec, corpus, envelopes, frames
from tests.fuzz.codec import fuzz_codec
from tests.fuzz.envelopes import fuzz_envelopes
from tests.fuzz.frames import fuzz_frames
from tests.fuzz.handshake import fuzz_handshake
from tests.fuzz.nasty import stream
from tests.fuzz.toy import WORD, fuzz_toy

from .kit import Link
from .test_round_trip import SAMPLES, values

NASTY = [nasty.data for nasty in corpus.ALL if len(nasty.data) <= 300]
GOOD = [body for value in SAMPLES if len(body := Link().encoder.encode(value)) <= 300]
KNOWN = NASTY + GOOD
WORDS = [*corpus.WORDS, *[bytes([byte]) for byte in (0, 1, 2, 3, 4, 5, 6, 16, 32, 0x91, 0x92, 0x93, 0xC0, 0xC1)]]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An input of the corpus or a good body, or several, with something put in, taken out or changed."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(KNOWN), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(0, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        data[at : at + size] = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)))
    return bytes(data)


streams = st.lists(st.one_of(st.sampled_from(KNOWN), st.binary(min_size=1, max_size=40)), max_size=6).map(
    lambda bodies: stream(*bodies)
)
inputs = st.one_of(st.binary(max_size=200), mutated(), streams)


@given(inputs)
@example(b"")
def test_rule_3_k_03_k_20_streams_are_cut_alike_wherever_they_are_split(data: bytes) -> None:
    fuzz_frames(data)


@given(inputs)
def test_rule_26_k_20_strangers_and_somebody_in_the_middle_open_no_connection(data: bytes) -> None:
    fuzz_handshake(data)


@given(st.lists(st.integers(0, 11), min_size=2, max_size=24).map(bytes))
def test_rule_23_k_17_what_is_repeated_swapped_lost_and_changed_opens_no_other_connection(program: bytes) -> None:
    fuzz_handshake(program)


@given(inputs)
def test_rule_16_k_19_k_20_whatever_was_decoded_is_encoded_and_decoded_again(data: bytes) -> None:
    fuzz_codec(data)


@given(st.lists(values, min_size=1, max_size=3))
def test_rule_7_k_19_bodies_of_good_values_are_stable(sent: list[Any]) -> None:
    encoder = Encoder(codec.types(strict=False), codec.WIDE)
    fuzz_codec(stream(*[encoder.encode(value) for value in sent]))


@given(st.builds(bytes.__add__, st.integers(30, 45).map(lambda kind: bytes([kind])), st.binary(max_size=40)))
def test_k_02_k_20_bodies_of_a_session_are_read_as_they_were_written(body: bytes) -> None:
    fuzz_envelopes(body)


# -- they find what is wrong -------------------------------------------------------------------------------------------


def finds(run: Callable[[bytes], None], tries: int = 2000) -> BaseException | None:
    """What comes of the corpus, of good bodies, and of random changes to them, if anything does."""
    rng = random.Random(5)
    for number in range(tries):
        data = bytearray(KNOWN[number % len(KNOWN)])
        for _ in range(number // len(KNOWN)):
            at = rng.randrange(len(data) + 1)
            data[at : at + 1] = rng.choice(WORDS)
        try:
            run(bytes(data))
        except Exception as error:
            return error
    return None


def test_nothing_is_found_where_nothing_is_planted() -> None:
    for run in (fuzz_frames, fuzz_handshake, fuzz_codec):
        assert finds(run, 2 * len(KNOWN)) is None


def test_a_layout_that_loses_a_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "numbers", lambda body: (numbers(body)[0], 0))
    with pytest.raises(AssertionError):
        envelopes.fuzz_envelopes(frame_two(ASK, 1, 2, b"v")[4:])


class LosesTheRest(FrameDecoder):
    def feed(self, data: Any, at_most: int | None = None) -> list[bytes]:
        found = super().feed(data, at_most)
        return found[:-1] if len(found) == 2 else found


class KeepsTooMuch(FrameDecoder):
    def feed(self, data: Any, at_most: int | None = None) -> list[bytes]:
        found = super().feed(data, at_most)
        self._buffer += bytes(self.max_frame) if self._buffer else b""
        return found


@pytest.mark.parametrize("wrong", [LosesTheRest, KeepsTooMuch])
def test_a_frame_decoder_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, wrong: type) -> None:
    monkeypatch.setattr(frames, "FrameDecoder", wrong)
    assert isinstance(finds(fuzz_frames), AssertionError)


def test_a_handshake_that_believes_every_proof_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake._Side, "_is_proof", lambda *_: True)
    assert "a stranger has proved a secret" in str(finds(fuzz_handshake))


def test_a_proof_that_does_not_cover_what_was_said_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # A secret in both ends, and the dialer's Hello passed on with one bit of its kind or node changed.
    monkeypatch.setattr(handshake._Side, "_digest", lambda _, role: role.ljust(DIGEST_SIZE, b"\0"))
    programs = [bytes([1, 1, 4, at, bit]) for at in range(60) for bit in range(8)]
    found = []
    for program in programs:
        try:
            fuzz_handshake(program)
        except AssertionError as error:
            found.append(str(error))
    assert any("something was changed on the way" in text for text in found)


def reverses_lists(value: Any) -> Any:
    return value[::-1] if type(value) is list else value


def changes_signs(value: Any) -> Any:
    return -value if type(value) is int and value != 7 else value


def lets_errors_through(value: Any) -> Any:
    return dict[Any, Any]()[value] if type(value) is str else value


def loads_a_module(value: Any) -> Any:
    if type(value) is bytes:
        sys.modules["tests.planted"] = ModuleType("tests.planted")
    return value


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (reverses_lists, "came again as"),
        (changes_signs, "came again as"),
        (lets_errors_through, "KeyError"),
        (loads_a_module, "a peer has loaded a module"),
    ],
)
def test_a_decoder_that_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[Any], Any], expected: str
) -> None:
    class Wrong(Decoder):
        __slots__ = ()

        def decode(self, body: bytes) -> Any:
            return plant(super().decode(body))

    monkeypatch.setattr(codec, "Decoder", Wrong)
    found = finds(fuzz_codec)
    sys.modules.pop("tests.planted", None)
    assert expected in repr(found)


def test_an_encoder_whose_bytes_are_an_accident_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Encoder):
        __slots__ = ()
        seen = 0

        def encode(self, value: object) -> bytes:
            Wrong.seen += 1
            return super().encode([value] * (Wrong.seen % 2) if value == [] else value)

    monkeypatch.setattr(codec, "Encoder", Wrong)
    assert isinstance(finds(fuzz_codec), AssertionError)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_replays_inputs_of_the_corpus_and_raw_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(WORD[:-1])
    for target in ("frames", "handshake", "codec", "envelopes", "toy"):
        assert command.main([target, "--replay", str(corpus.ALL[0].path), str(raw)]) == 0
    assert "2 inputs found nothing" in capsys.readouterr().out
    raw.write_bytes(WORD)
    with pytest.raises(RuntimeError, match="the planted bug"):
        command.main(["toy", "--replay", str(raw)])


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert command.main(["toy"]) == 2
    assert "uv run --group fuzz" in capsys.readouterr().err


def test_the_toy_has_one_bug() -> None:
    assert finds(fuzz_toy, 200) is None
    with pytest.raises(RuntimeError, match="the planted bug"):
        fuzz_toy(WORD + b"more")


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed; see the group fuzz")
def test_the_fuzzer_finds_the_planted_bug_and_says_how_to_see_it_again(tmp_path: Path) -> None:
    options = ("--seed", "1", "--seconds", "60", "--corpus", str(tmp_path / "a"), "--crashes", str(tmp_path / "b"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "toy", *options], capture_output=True, text=True, check=False
    )
    (crash,) = (tmp_path / "b").iterdir()
    assert crash.read_bytes().startswith(WORD)
    assert done.returncode == 1
    assert done.stdout.endswith(f"FOUND {crash}; to see it again: python -m tests.fuzz toy --replay {crash}\n")
