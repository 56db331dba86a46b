"""The corpus of nasty inputs: what each of them is and how it is made. `python -m tests.fuzz.corpus` writes the files.

-   `bodies`: one body for a decoder. The verdict is `value`, or the error and a part of its text.
-   `connections`: a stream of frames, whose bodies one decoder gets. The verdict is that of the last one.
-   `frames`: a stream. The verdict is how many bodies are in it, and what is left of it.
-   `handshakes`: a stream of frames that a listener and a dialer get, both without a secret unless the name says
    `secured`. The verdict is what each comes to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from casty_proto.wire import Kind, Node, Reason
from casty_proto.wire.messages import Challenge, Hello, Proof, Refusal, Welcome, packed
from tests.proto.wire import kit

from .nasty import CORPUS, FOLDERS, Nasty, announcing, body, colliding, colliding_sets, stream

KIT = kit.__name__
DEEP_ERROR = "Malformed: nested deeper than the limit of 64"


def _body(name: str, verdict: str, *parts: bytes | tuple[int, bytes]) -> Nasty:
    return Nasty("bodies", name, verdict, parts)


# -- lengths and counts ------------------------------------------------------------------------------------------------

BOMBS = [
    # Headers that promise 4 GiB, or that many elements, with nothing behind them.
    *[
        _body(f"{name}_bomb", verdict, first + b"\xff" * 4 + rest)
        for name, first, rest, verdict in (
            ("array32", b"\xdd", b"", "Malformed: cannot be read"),
            ("map32", b"\xdf", b"", "Malformed: cannot be read"),
            ("str32", b"\xdb", b"a", "Malformed: cannot be read"),
            ("bin32", b"\xc6", b"\0", "Malformed: cannot be read"),
            ("ext32", b"\xc9", b"\1", "Malformed: cannot be read"),
        )
    ],
    _body("announcements_of_4_gib", "Malformed: ends within its announcements", b"\xc1", b"\xff" * 4, b"\x90"),
    _body("array_with_a_bomb_inside", "Malformed: cannot be read", b"\x92\x02", b"\xdd\xff\xff\xff\xff\0"),
    # Each of the arrays has room made for it before it comes out that there is nothing for it.
    _body("array_bombs_inside_each_other", "Malformed: has", (1000, b"\xdd\0\0\xff\xff"), (60000, b"\0")),
    _body("short_array_bombs_inside_each_other", "Malformed: cannot be read", (60, b"\xdc\x0f\xff"), (3900, b"\0")),
    # Half a million lists in a megabyte, of which Python makes seventy.
    _body("many_empty_lists", "Malformed: the limit is 262144", b"\xdd\0\x08\0\0", (2**19, b"\x91\2")),
    _body("many_maps", "Malformed: byte 0x80 where a value should begin", b"\xdd\0\1\0\0", (2**16, b"\x80")),
    _body("many_nils", "Malformed: the limit is 262144", b"\xdd\0\x08\0\0", (2**19, b"\xc0")),
    _body("text_of_a_megabyte", "value", b"\xdb\0\x10\0\0", (2**20, b"a")),
    _body("long_and_cut_off", "Malformed: ends before its value does", b"\xdc\x13\x88\2", (4998, b"\xc0")),
    _body("long_and_trailing_byte", "Malformed: goes on after its value", b"\xdc\x13\x88\2", (4999, b"\xc0"), b"\xc0"),
]

# -- nesting -----------------------------------------------------------------------------------------------------------

DEEP = [
    _body("array_of_the_largest_allowed_depth", "value", (63, b"\x92\2"), b"\x91\2"),
    _body("array_one_too_deep", DEEP_ERROR, (64, b"\x92\2"), b"\x91\2"),
    _body("deep_lists", DEEP_ERROR, (100_000, b"\x92\2"), b"\x91\2"),
    _body("deep_lists_at_the_limit_of_the_library", DEEP_ERROR, (1023, b"\x92\2"), b"\x91\2"),
    _body("deep_without_tags", DEEP_ERROR, (100_000, b"\x91"), b"\xc0"),
    _body("deep_without_an_end", DEEP_ERROR, (5000, b"\x91")),
    # Looks deep to the quick check, and is flat.
    _body("flat_but_full_of_array_bytes", "value", b"\xc5\x01\0", (256, b"\x91")),
    _body("deep_exceptions", DEEP_ERROR, (40, b"\x94\x10" + body("builtins:ValueError") + b"\x92\3"), b"\1"),
    _body("deep_tuples_as_a_key", "value", b"\x93\6", (60, b"\x92\3"), b"\1\1"),
]

# -- what is no value --------------------------------------------------------------------------------------------------

RUBBISH = [
    _body("never_used_byte", "Malformed", b"\xc1"),
    _body("trailing_byte", "Malformed: ExtraData", b"\1\2"),
    _body("two_values", "Malformed: ExtraData", body([2, 1]) * 2),
    _body("empty_array", "Malformed: IndexError", b"\x90"),
    _body("empty_map", "Malformed: map", b"\x80"),
    _body("map_with_a_key_twice", "Malformed: map", b"\x82\xa1a\1\xa1a\2"),
    _body("empty_extension", "Malformed: extension", b"\xc7\0\5"),
    _body("extension", "Malformed: cannot be read", b"\xd4\1\0"),
    _body("extension_as_a_key", "Malformed: cannot be read", b"\x93\6\xd4\1\0\1"),
    _body("timestamp_of_bad_length", "Malformed: cannot be read", b"\xc7\3\xff\0\0\0"),
    _body("timestamp_of_too_many_nanoseconds", "Malformed: cannot be read", b"\xd7\xff" + b"\xff" * 8),
    _body("surrogate_in_text", "Malformed: UnicodeDecodeError", b"\xa3\xed\xa0\x80"),
    _body("overlong_nul_in_text", "Malformed: UnicodeDecodeError", b"\xa2\xc0\x80"),
    _body("text_cut_within_a_character", "Malformed: UnicodeDecodeError", b"\xa1\xc3"),
    _body("text_with_nul", "value", b"\xa3a\0b"),
    _body("tag_is_a_bool", "Malformed: begins with a bool", b"\x92\xc3\1"),
    _body("tag_is_a_list", "Malformed: TypeError", b"\x92\x91\2\1"),
    _body("tag_is_a_float", "Malformed: begins with a float", body([32.0, 1])),
    _body("tag_is_a_huge_number", "Malformed", body([[7, b"\1" + bytes(2000)], 1])),
    _body("tag_is_a_text", "Malformed: begins with a str", body(["a" * 1000, 1])),
    _body("tag_of_no_type", "Malformed: neither a tag nor the number of a type", body([32, 1])),
    _body("big_integer_that_is_small", "Malformed: is sent as a big one", body([7, b"\1"])),
    _body("big_integer_of_a_megabyte", "value", b"\x92\7\xc6\0\x10\0\0", (2**20, b"\x7f")),
    _body("bool_for_an_integer", "Malformed: not made of int", body([11, True, 1, 1])),
    _body("date_that_there_is_not", "Malformed: ValueError", body([11, 2023, 2, 30])),
    _body("zone_that_is_none", "Malformed: a time zone is a int", body([10, 2024, 1, 1, 0, 0, 0, 0, 0, 1])),
    _body("zone_that_leads_out", "Refused: 'zone' cannot be made", announcing([32, "../../a"], ("zone", ["value"]))),
    _body("signalling_nan_as_a_key", "Refused: key that cannot be one", body([6, [15, "sNaN"], 1])),
    _body("decimal_of_a_huge_exponent", "value", body([4, [15, "1E+999999999999999"], [15, "1E-999999999999"]])),
    _body("exception_that_would_be_another", "value", body([16, "builtins:OSError", [3, 2, "gone"], "[Errno 2] gone"])),
    _body("exception_that_ends_programs", "value", body([16, "builtins:SystemExit", [3, 1], "1"])),
    _body("exception_of_a_hostile_name", "value", body([16, "os:system", [3, "true"], "true"])),
    _body("exception_with_a_list", "Malformed: are not a tuple", body([16, "builtins:ValueError", [2], ""])),
]  # fmt: skip

# -- keys --------------------------------------------------------------------------------------------------------------


def _pairs(keys: Iterable[Any]) -> list[Any]:
    return [part for key in keys for part in (key, None)]


KEYS = [
    _body("dict_as_key", "Refused: key that cannot be one", body([6, [6], 1])),
    _body("dict_with_a_key_without_a_value", "Malformed: a key without a value", body([6, "a"])),
    _body("dict_with_a_key_twice", "Refused: a key twice", body([6, "a", 1, "a", 1])),
    _body("dict_with_equal_keys_of_two_types", "Refused: a key twice", body([6, 1, 1, True, 1])),
    _body("set_with_an_element_twice", "Refused: an element twice", body([4, "a", "a"])),
    _body("set_of_nans", "value", body([4, *[float("nan")] * 100])),
    _body("set_of_colliding_integers", "Refused: keys of the same hash", body([4, *colliding(500)])),
    _body("frozenset_of_colliding_integers", "Refused: keys of the same hash", body([5, *colliding(500)])),
    _body("dict_of_colliding_integers", "Refused: keys of the same hash", body([6, *_pairs(colliding(200))])),
    _body(
        "dict_of_colliding_tuples",
        "Refused: keys of the same hash",
        body([6, *_pairs([3, key, 1] for key in colliding(200))]),
    ),
    _body("set_of_as_many_colliding_integers_as_are_allowed", "value", body([4, *colliding(64)])),
    _body(
        # Comparing two of the sets means comparing all that is in them, with each other.
        "set_of_colliding_sets_of_colliding_sets",
        "Refused: pairs of the same hash",
        body([4, *[colliding_sets(10, 2, place) for place in range(10)]]),
    ),
]

# -- names -------------------------------------------------------------------------------------------------------------

HOSTILE = (
    "subprocess:Popen", "os:system", "os:_Environ", "builtins:eval", "builtins:exec", "builtins:__import__",
    "builtins:type", "builtins:object", "builtins:open", "pickle:loads", "importlib:import_module", "sys:modules",
    "sys:exit", "ctypes:CDLL", "code:InteractiveInterpreter", "antigravity:antigravity", "os.path:join", "", ":",
    "a:", ":a", "os", "builtins:int", "builtins:dict", "casty_proto.wire.types:Types", f"{KIT}:Plain.__class__",
    f"{KIT}:Plain.__init__", f"{KIT}:Outer.", f"{KIT}:.Outer", f"{KIT}:Box.__mro__", f"{KIT}:Outer.Inner.__dict__",
    f"{KIT}:Renamed", f"{KIT}:Bare", f"{KIT}:dataclass", f"{KIT}:Path\0", "__main__:__builtins__",
)  # fmt: skip


def _file_name(name: str) -> str:
    clean = "".join(character if character.isalnum() else "_" for character in name.removeprefix(KIT))
    return f"name_{HOSTILE.index(name):02}_{clean}"


NAMES = [
    *[
        _body(_file_name(name), f"Refused: the type {name!r}"[:70], announcing([32, "true"], (name, ["args"])))
        for name in HOSTILE
    ],
    _body("name_of_256_characters", "Malformed: too long", announcing([32], ("a" * 256, []))),
    _body("name_of_255_wide_characters", "Refused: no class has that name", announcing([32], ("\U0001f40d" * 255, []))),
    _body("name_with_lines", "Refused: the type 'a\\nb", announcing([32], ("a\nb\x1b[2J", []))),
    # Fields that are unknown are ignored, so these set nothing.
    _body("field_of_the_object_itself", "value", announcing([32, 1, 2], (f"{KIT}:Plain", ["a", "__class__"]))),
    _body("field_of_the_class", "Refused: Plain.a was not sent", announcing([32, 1], (f"{KIT}:Plain", ["__dict__"]))),
    _body("field_twice", "Malformed: the same field twice", announcing([32, 1, 2], (f"{KIT}:Plain", ["a", "a"]))),
    _body("fields_in_excess", "Malformed: 257 fields", announcing([32], ("a", [f"f{n}" for n in range(257)]))),
    _body("types_in_excess", "Malformed: more than 1024 types", announcing([2], *[("a", [])] * 1025)),
    _body("type_with_the_wrong_number", "Malformed: with the number 32", announcing([33], ("a", []), first=33)),
    _body("announcements_inside_announcements", "Malformed", b"\xc1\0\0\0\1\x90\xc1\0\0\0\1\x90\1"),
    _body("announcements_without_a_value", "Malformed: ends within", announcing(1, ("a", []))[:-1]),
    _body("flags_that_do_not_exist", "Refused: no such bits", announcing([32, 2**62], (f"{KIT}:Right", ["bits"]))),
    _body("member_that_does_not_exist", "Refused: no member", announcing([32, "mro"], (f"{KIT}:Colour", ["member"]))),
    _body("object_short_of_a_field", "Malformed: 2 were announced", announcing([32, 1], (f"{KIT}:Plain", ["a", "b"]))),
]  # fmt: skip

# -- several bodies of one connection ----------------------------------------------------------------------------------

PLAIN = announcing([32, 1, "b"], (f"{KIT}:Plain", ["a", "b"]))
SECOND = body([32, 2, "c"])


def _connection(name: str, verdict: str, *bodies: bytes) -> Nasty:
    return Nasty("connections", name, verdict, (stream(*bodies),))


CONNECTIONS = [
    _connection("in_order", "value", PLAIN, SECOND, SECOND),
    _connection("in_another_order", "Malformed: neither a tag nor the number", SECOND, PLAIN),
    _connection("announcement_again", "Malformed: with the number 33", PLAIN, PLAIN),
    _connection("announcement_lost", "Malformed: with the number 32", announcing([33], ("b", []), first=33)),
    _connection("value_after_a_refused_one", "value", announcing([32, 1], ("os:system", ["a"])), body([2, 1])),
    _connection("refused_again", "Refused: 'os:system'", announcing([32, 1], ("os:system", ["a"])), body([32, 1])),
    _connection("value_after_a_malformed_one", "Malformed: ExtraData", b"\1\1", body(1)),
    _connection("tag_is_a_float_of_a_known_type", "Malformed: begins with a float", PLAIN, body([32.0, 1, "b"])),
    _connection("tag_is_a_member_of_a_known_type", "Malformed", PLAIN, body([[15, "32"], 1, "b"])),
    _connection("type_announced_again", "value", PLAIN, announcing([33, 1], (f"{KIT}:Plain", ["a"]), first=33)),
    _connection("other_fields_than_the_first_time", "Malformed: 2 were announced", PLAIN, body([32, 1])),
]  # fmt: skip

# -- frames ------------------------------------------------------------------------------------------------------------


def _frames(name: str, verdict: str, *parts: bytes) -> Nasty:
    return Nasty("frames", name, verdict, parts)


GOOD = stream(b"a")

FRAMES = [
    _frames("nothing", "0 bodies, 0 bytes kept"),
    _frames("length_0", "0 bodies, FrameError: the length 0", bytes(4)),
    _frames("length_0_after_a_good_one", "1 bodies, FrameError: the length 0", GOOD, bytes(4), GOOD),
    _frames("length_1", "1 bodies, 0 bytes kept", GOOD),
    _frames("length_over_the_limit", "1 bodies, FrameError: the limit is 1048576 bytes", GOOD, b"\0\x10\0\1", b"a"),
    _frames("length_2_to_the_31", "0 bodies, FrameError: the length 2147483648", b"\x80\0\0\0", b"a"),
    _frames("length_2_to_the_32_less_1", "0 bodies, FrameError: the length 4294967295", b"\xff" * 4, b"a"),
    _frames("length_little_endian", "0 bodies, FrameError: the length 16777216", b"\1\0\0\0a"),
    _frames("slow_loris_in_a_length", "0 bodies, 3 bytes kept", b"\0\0\0"),
    _frames("slow_loris_in_a_body", "0 bodies, 9 bytes kept", b"\0\x0f\xff\xff", b"slow."),
    _frames("slow_loris_after_good_ones", "2 bodies, 5 bytes kept", GOOD, GOOD, b"\0\0\0\2a"),
    _frames("cut_off", "1 bodies, 7 bytes kept", GOOD, stream(b"abcd")[:-1]),
    _frames("twice", "2 bodies, 0 bytes kept", stream(PLAIN), stream(PLAIN)),
    _frames("http", "0 bodies, FrameError: the length 1195725856", b"GET / HTTP/1.1\r\n\r\n"),
    _frames("tls", "0 bodies, FrameError: the length 369295618", b"\x16\3\1\2\0\1\0\1\xfc\3\3"),
    _frames("many_of_one_byte", "1000 bodies, 0 bytes kept", *[GOOD] * 1000),
]

# -- handshakes --------------------------------------------------------------------------------------------------------

A, B, OTHER = Node("a", 1, "10.0.0.1:7000"), Node("b", 2, "[::1]:7001"), Node("c", 3)
NONCE = b"n" * 32


def _said_hello(lowest: int, highest: int, system: str, node: Node) -> bytes:
    return packed(Hello(lowest, highest, system, node, Kind.DATA, False, NONCE))


def _said_challenge(version: int, system: str, node: Node) -> bytes:
    return packed(Challenge(version, system, node, False, NONCE))


HELLO = _said_hello(1, 1, "shop", OTHER)
CHALLENGE = _said_challenge(1, "shop", OTHER)
PROOF, WELCOME = packed(Proof(b"")), packed(Welcome(b""))
REFUSAL = packed(Refusal(Reason.SYSTEM, "no"))
SECURED_HELLO = packed(Hello(1, 1, "shop", OTHER, Kind.DATA, True, NONCE))
SECURED_CHALLENGE = packed(Challenge(1, "shop", OTHER, True, NONCE))
MESSAGES = {"hello": HELLO, "challenge": CHALLENGE, "proof": PROOF, "welcome": WELCOME, "refusal": REFUSAL}
WRONG_PROOF = packed(Proof(bytes(32)))
MALFORMED = "listener MALFORMED, dialer MALFORMED"


def _handshake(name: str, verdict: str, *bodies: bytes) -> Nasty:
    return Nasty("handshakes", name, verdict, (stream(*bodies),))


def _wrong(name: str, *parts: Any) -> Nasty:
    return _handshake(f"wrong_{name}", MALFORMED, body(["casty", *parts]))


def _hello(name: str, **changes: Any) -> Nasty:
    """A `Hello` with one part that cannot be."""
    parts = {"lowest": 1, "highest": 1, "system": "shop", "id": "c", "generation": 3, "address": "", "kind": 2}
    return _wrong(f"hello_{name}", 1, *{**parts, "secured": False, "nonce": NONCE, **changes}.values())


LISTENER_VERSION = "listener VERSION, dialer MALFORMED"
HANDSHAKES = [
    *[_handshake(f"{name}_cut_off", MALFORMED, message[:-1]) for name, message in MESSAGES.items()],
    *[_handshake(f"{name}_and_a_byte_more", MALFORMED, message + b"\0") for name, message in MESSAGES.items()],
    *[_handshake(f"{name}_cut_in_half", MALFORMED, message[: len(message) // 2]) for name, message in MESSAGES.items()],
    _handshake("hello_alone", "listener waits, dialer MALFORMED", HELLO),
    _handshake("challenge_alone", "listener MALFORMED, dialer waits", CHALLENGE),
    _handshake("proof_alone", MALFORMED, PROOF),
    _handshake("welcome_alone", MALFORMED, WELCOME),
    _handshake("refusal_alone", "listener SYSTEM, dialer SYSTEM", REFUSAL),
    _handshake("hello_and_proof", "listener Established, dialer MALFORMED", HELLO, PROOF),
    _handshake("challenge_and_welcome", "listener MALFORMED, dialer Established", CHALLENGE, WELCOME),
    _handshake("hello_again", MALFORMED, HELLO, HELLO),
    _handshake("challenge_again", MALFORMED, CHALLENGE, CHALLENGE),
    _handshake("hello_and_proof_and_again", "listener Established, dialer MALFORMED", HELLO, PROOF, HELLO, PROOF),
    _handshake("proof_before_hello", MALFORMED, PROOF, HELLO),
    _handshake("hello_and_welcome", MALFORMED, HELLO, WELCOME),
    _handshake("hello_and_data", MALFORMED, HELLO, body([2, 1])),
    _handshake("data_first", MALFORMED, body([2, 1]), HELLO, PROOF),
    _handshake("hello_of_another_system", "listener SYSTEM, dialer MALFORMED", _said_hello(1, 1, "bank", OTHER)),
    _handshake("hello_of_ourselves", "listener SELF, dialer MALFORMED", _said_hello(1, 1, "shop", B)),
    _handshake("hello_of_later_versions", LISTENER_VERSION, _said_hello(2, 65535, "shop", OTHER)),
    _handshake("hello_of_versions_the_wrong_way_round", LISTENER_VERSION, _said_hello(9, 1, "shop", OTHER)),
    _handshake("hello_with_a_secret", "listener SECRET, dialer MALFORMED", SECURED_HELLO),
    _handshake("challenge_of_another_system", "listener MALFORMED, dialer SYSTEM", _said_challenge(1, "bank", OTHER)),
    _handshake("challenge_of_ourselves", "listener MALFORMED, dialer SELF", _said_challenge(1, "shop", A)),
    _handshake("challenge_of_a_later_version", "listener MALFORMED, dialer VERSION", _said_challenge(2, "shop", OTHER)),
    _handshake("challenge_with_a_secret", "listener MALFORMED, dialer SECRET", SECURED_CHALLENGE),
    _handshake("proof_that_nobody_asked_for", "listener SECRET, dialer MALFORMED", HELLO, WRONG_PROOF),
    _handshake("secured_hello_and_no_proof", "listener SECRET, dialer MALFORMED", SECURED_HELLO, PROOF),
    _handshake("secured_hello_and_wrong_proof", "listener SECRET, dialer MALFORMED", SECURED_HELLO, WRONG_PROOF),
    _handshake("secured_challenge_and_no_welcome", "listener MALFORMED, dialer SECRET", SECURED_CHALLENGE, WELCOME),
    _handshake("secured_and_the_peer_has_none", "listener SECRET, dialer MALFORMED", HELLO, PROOF),
    _handshake("secured_and_the_listener_has_none", "listener MALFORMED, dialer SECRET", CHALLENGE, WELCOME),
    _handshake("refusal_of_an_unknown_reason", MALFORMED, body(["casty", 5, 99, "later"])),
    _handshake("refusal_of_4_kib_in_lines", MALFORMED, body(["casty", 5, 1, "a\n\x1b" * 1300])),
    _handshake("longer_than_the_limit", "listener waits, dialer waits", bytes(4097)),
    _wrong("nothing"),
    _wrong("kind_of_message", 9, 1),
    _wrong("kind_is_a_bool", True, 1),
    _wrong("kind_is_a_float", 3.0, b""),
    _wrong("proof_is_a_text", 3, "x" * 32),
    _wrong("proof_of_31_bytes", 3, bytes(31)),
    _wrong("proof_and_more", 3, b"", 1),
    _wrong("welcome_is_a_list", 4, [0]),
    _wrong("refusal_without_a_text", 5, 1),
    _wrong("refusal_reason_is_a_text", 5, "1", "no"),
    _wrong("challenge_is_a_hello", 2, 1, 1, "shop", "c", 3, "", 2, False, NONCE),
    _wrong("challenge_secured_is_an_integer", 2, 1, "shop", "c", 3, "", 0, NONCE),
    _wrong("hello_without_versions", 1, "shop", "c", 3, "", 2, False, NONCE),
    _wrong("hello_with_one_version", 1, 1, "shop", "c", 3, "", 2, False, NONCE),
    _hello("version_0", lowest=0),
    _hello("version_2_to_the_64", highest=2**64 - 1),
    _hello("version_is_a_float", lowest=1.0),
    _hello("system_with_a_slash", system="s/p"),
    _hello("system_is_bytes", system=b"shop"),
    _hello("id_empty", id=""),
    _hello("id_of_4000_characters", id="c" * 3900),
    _hello("generation_negative", generation=-1),
    _hello("generation_is_a_bool", generation=True),
    _hello("address_without_a_port", address="x"),
    _hello("address_in_another_spelling", address="H:1"),
    _hello("kind_unknown", kind=9),
    _hello("secured_is_an_integer", secured=1),
    _hello("nonce_short", nonce=bytes(31)),
    _hello("nonce_is_a_text", nonce="n" * 32),
    _handshake("wrong_magic", MALFORMED, body(["castx", 3, b""])),
    _handshake("wrong_magic_is_bytes", MALFORMED, body([b"casty", 3, b""])),
    _handshake("wrong_map", MALFORMED, b"\x81\xa5casty\1"),
    _handshake("wrong_deep", MALFORMED, b"\x92\xa5casty" + b"\x91" * 2000 + b"\0"),
    _handshake("wrong_bomb", MALFORMED, b"\xdd\xff\xff\xff\xff\xa5casty"),
]  # fmt: skip

ALL = [*BOMBS, *DEEP, *RUBBISH, *KEYS, *NAMES, *CONNECTIONS, *FRAMES, *HANDSHAKES]

WORDS = (
    b"casty", KIT.encode(), b"builtins:ValueError", b"uuid", b"path", b"zone", b"kit.named", b"value", b"member",
    b"\xc1\0\0\0", b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\x92\2", b"\x93\6", b"\xc4\x20", b"\0\0\0\1",
    b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\0\0\0\0\0\0\0", b"1E+99", b"sNaN",
)  # fmt: skip
"""What a fuzzer would be long in finding."""


def write() -> None:
    """Make the files what they are here."""
    for folder in FOLDERS:
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for path in (CORPUS / folder).glob("*.hex"):
            path.unlink()
    for nasty in ALL:
        nasty.path.write_text(nasty.text)


if __name__ == "__main__":
    write()
