"""Addresses, rule by rule as their file numbers them; round trips; and what is said about bad ones."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import assume, given
from hypothesis import strategies as st

from casty_proto.address import (
    INCARNATION_MAX,
    ROOT,
    ActorAddress,
    AddressError,
    NodeAddress,
    actor_name_problem,
    check_host,
    check_port,
    is_reserved,
    join_path,
    parent_path,
    parse_endpoint,
    parse_path,
    split_path,
    system_name_problem,
)

HERE = NodeAddress("10.0.0.1", 8001)

# -- strategies --------------------------------------------------------------------------------------------------------

characters = st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="/#")
names = st.text(characters, min_size=1, max_size=40)
system_names = st.text(characters.filter(lambda c: c not in "@:[]"), min_size=1, max_size=40)
labels = st.from_regex(r"[a-zA-Z_]([a-zA-Z0-9_-]{0,20}[a-zA-Z0-9_])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda ip: ip.exploded.upper()),
    st.ip_addresses(v=6).map(lambda ip: f"{ip}%eth0"),
)
nodes = st.builds(NodeAddress, hosts, st.integers(1, 65535))
paths = st.lists(names, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))
addresses = st.builds(ActorAddress, system_names, st.none() | nodes, paths, st.none() | st.integers(0, INCARNATION_MAX))
twins = st.builds(
    ActorAddress,
    st.sampled_from(["s", "S"]),
    st.sampled_from(
        [None, *(NodeAddress(host, 1) for host in ("a", "A", "a.", "::1", "0::1", "::ffff:1.2.3.4", "1.2.3.4"))]
    ),
    st.sampled_from(["/a", "/A", "/a/a"]),
    st.sampled_from([None, 0, 1]),
)
near_misses = st.lists(
    st.sampled_from(
        ["casty://", "casty:", "sys", "@", "host", ":", "80", "0", "[", "]", "::1", "/", "#", "7", " ", "\n"]
    ),
    max_size=10,
).map("".join)


# -- rule 1: one actor, one text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("casty://shop@10.0.0.1:8001/cart", ActorAddress("shop", HERE, "/cart")),
        ("casty://shop@10.0.0.1:8001/cart/item#7", ActorAddress("shop", HERE, "/cart/item", 7)),
        ("casty://shop/cart", ActorAddress("shop", None, "/cart")),
        ("casty://shop/cart#0", ActorAddress("shop", None, "/cart", 0)),
        ("casty://shop@[::1]:1/a", ActorAddress("shop", NodeAddress("::1", 1), "/a")),
        ("casty://shop@[fe80::1%eth0]:1/a", ActorAddress("shop", NodeAddress("fe80::1%eth0", 1), "/a")),
        ("casty://shop/user@example.org:80/[x]?%20", ActorAddress("shop", None, "/user@example.org:80/[x]?%20")),
        ("casty://läden/größe", ActorAddress("läden", None, "/größe")),
        ("casty://shop@my_db.lan:65535/_a/$7", ActorAddress("shop", NodeAddress("my_db.lan", 65535), "/_a/$7")),
        (f"casty://s/a#{2**64 - 1}", ActorAddress("s", None, "/a", 2**64 - 1)),
    ],
)  # fmt: skip
def test_rule_1_text_and_address_are_two_forms_of_one_thing(text: str, address: ActorAddress) -> None:
    assert ActorAddress.parse(text) == address
    assert str(address) == text


@given(addresses)
def test_rule_1_every_address_survives_the_way_to_text_and_back(address: ActorAddress) -> None:
    assert ActorAddress.parse(str(address)) == address


@given(nodes)
def test_rule_1_every_node_address_survives_the_way_to_text_and_back(node: NodeAddress) -> None:
    assert NodeAddress.parse(str(node)) == node


@given(twins, twins)
def test_rule_1_two_addresses_are_equal_exactly_when_their_texts_are(a: ActorAddress, b: ActorAddress) -> None:
    assert (a == b) == (str(a) == str(b))


@given(st.text(max_size=60) | near_misses | near_misses.map(lambda rest: "casty://" + rest))
def test_rule_1_any_text_is_an_address_error_or_an_address_that_prints_stably(text: str) -> None:
    try:
        address = ActorAddress.parse(text)
    except AddressError:
        return
    assert ActorAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("spelling", "host"),
    [
        ("LocalHost", "localhost"),
        ("Node1.Example.ORG", "node1.example.org"),
        ("example.org.", "example.org."),
        ("127.0.0.1", "127.0.0.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("::", "::"),
        ("x" * 63, "x" * 63),
        ("1a.2b", "1a.2b"),
    ],
)
def test_rule_1_a_host_is_kept_in_one_spelling(spelling: str, host: str) -> None:
    assert check_host(spelling) == host
    assert check_host(host) == host
    assert NodeAddress(spelling, 80) == NodeAddress(host, 80)
    assert hash(NodeAddress(spelling, 80)) == hash(NodeAddress(host, 80))


@given(st.ip_addresses())
def test_rule_1_every_ip_address_is_a_host(ip: IPv4Address | IPv6Address) -> None:
    assert check_host(str(ip)) == check_host(ip.exploded)


def test_an_address_is_a_value_that_can_be_a_key_and_cannot_change() -> None:
    address = ActorAddress("shop", HERE, "/cart", 7)
    assert {address: 1}[ActorAddress.parse(str(address))] == 1
    with pytest.raises(FrozenInstanceError):
        address.path = "/other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        HERE.port = 1  # type: ignore[misc]


def test_the_name_is_the_last_along_the_path() -> None:
    assert ActorAddress("shop", None, "/cart").name == "cart"
    assert ActorAddress("shop", None, "/cart/item").name == "item"


# -- rules 2 to 4: names and paths -------------------------------------------------------------------------------------


@given(names)
def test_rule_2_a_name_is_anything_without_dividers_white_space_and_control_characters(name: str) -> None:
    assume(not name.startswith("$"))
    assert actor_name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["worker-1", "user@example.org", "a:b", "..", "größe", "名前", "👩\u200d🚀", "x" * 255]
)
def test_rule_2_such_actor_names_are_good(name: str) -> None:
    assert actor_name_problem(name) is None
    assert parse_path(name) == "/" + name


EXPECTED = "expected 1 to 255 characters without '/', '#', white space and control characters"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", f"actor name '' is empty; {EXPECTED}"),
        ("a/b", f"actor name 'a/b' has '/' at index 1; {EXPECTED}"),
        ("a#1", f"actor name 'a#1' has '#' at index 1; {EXPECTED}"),
        ("my cart", f"actor name 'my cart' has ' ' at index 2; {EXPECTED}"),
        ("cart\n", f"actor name 'cart\\n' has '\\n' at index 4; {EXPECTED}"),
        ("\u3000x", f"actor name '\\u3000x' has '\\u3000' at index 0; {EXPECTED}"),
        ("x\x00", f"actor name 'x\\x00' has '\\x00' at index 1; {EXPECTED}"),
        ("x\x85", f"actor name 'x\\x85' has '\\x85' at index 1; {EXPECTED}"),
        ("x\ud800", f"actor name 'x\\ud800' has '\\ud800' at index 1; {EXPECTED}"),
        ("x" * 256, f"actor name '{'x' * 80}'... (256 characters) has 256 characters; {EXPECTED}"),
        ("$1", "actor name '$1' begins with '$', as only made-up names do; choose another first character"),
    ],
)
def test_rules_2_to_4_a_bad_actor_name_is_explained(name: str, problem: str) -> None:
    assert actor_name_problem(name) == problem


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a#b", "a@b", "a:80", "[a]", "x" * 256])
def test_rule_2_a_system_name_also_has_no_at_sign_colon_or_brackets(name: str) -> None:
    problem = system_name_problem(name)
    assert problem is not None
    assert "expected 1 to 255 characters without '/', '#', '@', ':', brackets" in problem
    with pytest.raises(AddressError) as caught:
        ActorAddress(name, None, "/a")
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("path", "reserved"),
    [
        ("/_tasks", True),
        ("_tasks", True),
        ("/_a/b", True),
        ("/a", False),
        ("/a/_b", False),
        ("a_b", False),
        ("/", False),
    ],
)
def test_rule_4_top_level_names_that_begin_with_an_underscore_are_reserved(path: str, reserved: bool) -> None:
    assert is_reserved(path) is reserved


def test_paths_are_joined_split_and_climbed() -> None:
    assert join_path(ROOT, "a") == "/a"
    assert join_path("/a", "b") == "/a/b"
    assert split_path("/a/b") == ("a", "b")
    assert split_path(ROOT) == ()
    assert parent_path("/a/b") == "/a"
    assert parent_path("/a") == ROOT
    with pytest.raises(AddressError, match="path '/' has no parent; expected the path of an actor, such as '/name'"):
        parent_path(ROOT)


@given(st.lists(names, min_size=1, max_size=6))
def test_splitting_a_path_undoes_joining_it(parts: list[str]) -> None:
    path = ROOT
    for name in parts:
        below = join_path(path, name)
        assert parent_path(below) == path
        path = below
    assert split_path(path) == tuple(parts)
    assert parse_path(path) == path == parse_path("/".join(parts))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "path '/' names no actor; expected '/name' or '/name/name'"),
        ("/", "path '/' names no actor; expected '/name' or '/name/name'"),
        ("a/", "path '/a/': actor name '' is empty; expected 1 to 255"),
        ("/a//b", "path '/a//b': actor name '' is empty; expected 1 to 255"),
        ("/a/b c", "path '/a/b c': actor name 'b c' has ' ' at index 1; expected 1 to 255"),
    ],
)
def test_a_bad_path_is_explained(text: str, message: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_path(text)
    assert str(caught.value).startswith(message)


# -- rule 6: nodes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("node1:8001", "node1", 8001),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:65535", "::1", 65535),
        ("[0:0::1%en-0]:80", "::1%en-0", 80),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text) == (host, port)
    assert NodeAddress.parse(text) == NodeAddress(host, port)


def test_rule_6_port_0_passes_only_where_it_is_asked_for() -> None:
    assert parse_endpoint("localhost:0", any_port=True) == ("localhost", 0)
    assert check_port(0, any_port=True) == 0
    with pytest.raises(AddressError, match=r"endpoint 'localhost:0': port 0 is out of range; expected 1 to 65535"):
        parse_endpoint("localhost:0")
    with pytest.raises(AddressError, match="port 0 is out of range; expected 1 to 65535"):
        check_port(0)
    with pytest.raises(AddressError, match="port 0 is out of range; expected 1 to 65535"):
        NodeAddress("localhost", 0)
    with pytest.raises(AddressError, match="port 65536 is out of range; expected 0 to 65535"):
        check_port(65536, any_port=True)


@pytest.mark.parametrize("port", [-1, 65536, True, 80.0, "80", None])
def test_rule_6_a_port_is_an_integer_from_1_to_65535(port: Any) -> None:
    with pytest.raises(AddressError, match="out of range; expected 1 to 65535"):
        NodeAddress("localhost", port)


ENDPOINT = "expected 'host:port', with an IPv6 address in brackets: '[::1]:8001'"
HOST = "expected a host name (letters, digits, '-' and '_' between dots), an IPv4 or an IPv6 address"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"endpoint '' has no port; {ENDPOINT}"),
        ("node1", f"endpoint 'node1' has no port; {ENDPOINT}"),
        ("[::1]", f"endpoint '[::1]' has no port; {ENDPOINT}"),
        ("::1:80", f"endpoint '::1:80' has more than one ':' and no brackets; {ENDPOINT}"),
        ("[::1:80", f"endpoint '[::1:80' has no ']'; {ENDPOINT}"),
        ("[node1]:80", f"endpoint '[node1]:80' has brackets around 'node1'; {ENDPOINT}"),
        ("[::1]x:80", f"endpoint '[::1]x:80' has 'x:80' after the ']'; {ENDPOINT}"),
        ("node1:", f"endpoint 'node1:' has the port '', which is not a number; {ENDPOINT}"),
        ("node1:http", f"endpoint 'node1:http' has the port 'http', which is not a number; {ENDPOINT}"),
        ("node1:080", f"endpoint 'node1:080' has the port '080', which is not a number; {ENDPOINT}"),
        ("node1:٨٠", f"endpoint 'node1:٨٠' has the port '٨٠', which is not a number; {ENDPOINT}"),
        ("node1:65536", "endpoint 'node1:65536': port 65536 is out of range; expected 1 to 65535"),
        (":80", f"endpoint ':80': host '' is empty; {HOST}"),
        ("my node:80", f"endpoint 'my node:80': host 'my node' is not a host name; {HOST}"),
        ("-a:80", f"endpoint '-a:80': host '-a' is not a host name; {HOST}"),
        ("a..b:80", f"endpoint 'a..b:80': host 'a..b' is not a host name; {HOST}"),
        ("größe:80", f"endpoint 'größe:80': host 'größe' is not a host name; {HOST}"),
        ("tcp//node:80", f"endpoint 'tcp//node:80': host 'tcp//node' is not a host name; {HOST}"),
        ("1.2.3:80", "endpoint '1.2.3:80': host '1.2.3' is not an IPv4 address ("),
        ("1.2.3.256:80", "endpoint '1.2.3.256:80': host '1.2.3.256' is not an IPv4 address ("),
        ("[1::2::3]:80", "endpoint '[1::2::3]:80': host '1::2::3' is not an IPv6 address ("),
        ("[fe80::1%a b]:80", "endpoint '[fe80::1%a b]:80': host 'fe80::1%a b' has the zone 'a b'; expected letters"),
        (
            f"{'x' * 300}:80",
            f"endpoint '{'x' * 80}'... (303 characters): host '{'x' * 80}'... (300 characters) is longer",
        ),
    ],
)
def test_a_bad_endpoint_is_explained(text: str, message: str) -> None:
    with pytest.raises(AddressError) as caught:
        NodeAddress.parse(text)
    assert str(caught.value).startswith(message)


# -- bad addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "address '': does not begin with 'casty://'; expected 'casty://system@host:port/path'"),
        ("shop/cart", "does not begin with 'casty://'; expected 'casty://system@host:port/path'"),
        ("CASTY://shop/cart", "does not begin with 'casty://'"),
        ("casty://shop", "no '/' after the system 'shop'; expected 'casty://system@host:port/path'"),
        ("casty://shop@node1:80", "no '/' after the system 'shop@node1:80'"),
        ("casty://shop/", "path '/' names no actor; expected '/name'"),
        ("casty://shop/cart/", "path '/cart/': actor name '' is empty"),
        ("casty:///cart", "system name '' is empty"),
        ("casty://@node1:80/cart", "system name '' is empty"),
        ("casty://node1:80/cart", "system name 'node1:80' has ':' at index 5"),
        ("casty://my shop/cart", "system name 'my shop' has ' ' at index 2"),
        ("casty://shop@node1/cart", "endpoint 'node1' has no port"),
        ("casty://shop@/cart", "endpoint '' has no port"),
        ("casty://shop@a@b:80/cart", "endpoint 'a@b:80': host 'a@b' is not a host name"),
        ("casty://shop@node1:0/cart", "endpoint 'node1:0': port 0 is out of range; expected 1 to 65535"),
        ("casty://shop/cart#", "incarnation '' is not a number; expected digits after the '#'"),
        ("casty://shop/cart#x", "incarnation 'x' is not a number"),
        ("casty://shop/cart#-1", "incarnation '-1' is not a number"),
        ("casty://shop/cart#01", "incarnation '01' is not a number"),
        ("casty://shop/cart#1#2", "incarnation '1#2' is not a number"),
        (f"casty://shop/cart#{2**64}", f"incarnation {2**64} is out of range; expected 0 to 2**64 - 1, or none"),
        (f"casty://shop/cart#{'9' * 9999}", "is not a number"),
        ("casty://shop/my cart", "path '/my cart': actor name 'my cart' has ' ' at index 2"),
    ],
)  # fmt: skip
def test_a_bad_address_is_explained(text: str, message: str) -> None:
    with pytest.raises(AddressError) as caught:
        ActorAddress.parse(text)
    said = str(caught.value)
    assert said.startswith(f"address {text!r}: " if len(text) <= 80 else f"address {text[:80]!r}... (")
    assert message in said


def test_an_error_about_a_long_text_is_short() -> None:
    for text in ("casty://" + "x" * 10**6 + "/a", "casty://s@" + "1." * 10**6 + ":1/a", "casty://s/a/ " + "x" * 10**6):
        with pytest.raises(AddressError) as caught:
            ActorAddress.parse(text)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("incarnation", [-1, 2**64, True, 1.0, "1"])
def test_rule_5_an_incarnation_is_an_unsigned_integer_of_64_bits(incarnation: Any) -> None:
    with pytest.raises(AddressError, match=r"out of range; expected 0 to 2\*\*64 - 1, or none"):
        ActorAddress("shop", None, "/cart", incarnation)


def test_rule_5_an_address_with_an_incarnation_is_not_the_one_without() -> None:
    cart = ActorAddress("shop", None, "/cart")
    first, second = ActorAddress("shop", None, "/cart", 1), ActorAddress("shop", None, "/cart", 2)
    assert len({cart: 0, first: 0, second: 0}) == 3


def test_parts_of_the_wrong_type_are_refused() -> None:
    bad: Any = "10.0.0.1:8001"
    with pytest.raises(TypeError, match="node"):
        ActorAddress("shop", bad, "/cart")
    nothing: Any = None
    with pytest.raises(TypeError, match="path"):
        ActorAddress("shop", None, nothing)
