"""The handshake: two machines, one for each end of a connection.

Theory of operation
-------------------
    Dialer                                  Listener
      | -- Hello: versions, system, node, kind, nonce --> |
      | <-- Challenge: version, system, node, nonce ----- |
      | -- Proof: digest as the dialer -----------------> |
      | <-- Welcome: digest as the listener ------------- |

Either may answer with a `Refusal` instead, and that is the end. A digest is an HMAC with the secret over the role and
over the bodies of `Hello` and `Challenge`, as sent and as received. So it covers both nonces, both names and all that
was agreed upon, it is good for one connection only, and one made in one role is of no use in the other. The dialer
proves first: whoever scans for open ports gets nothing to try secrets on.

Without a secret the digests are empty and the exchange is the same. What is written after the handshake is protected by
TLS or not at all.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac_new
from typing import assert_never

from ..machine import Instant, Wake
from .errors import Malformed, shown
from .events import (
    Connected,
    ConnectionLost,
    Established,
    HandshakeEffect,
    HandshakeEvent,
    HandshakeRefused,
    Lost,
    Received,
    Send,
)
from .messages import (
    NONCE_SIZE,
    Challenge,
    Hello,
    Kind,
    Message,
    Node,
    Proof,
    Reason,
    Refusal,
    Welcome,
    clipped_reason,
    packed,
    unpacked,
)
from .options import HandshakeOptions

type _Effects = tuple[HandshakeEffect, ...]

_LABEL = b"casty handshake 1 "
_DIALER, _LISTENER = b"dialer", b"listener"


class _Side:
    """What both ends have in common."""

    __slots__ = ("_deadline", "_is_over", "_node", "_nonce", "_options", "_peer", "_spoken")

    def __init__(self, node: Node, options: HandshakeOptions, nonce: bytes) -> None:
        if type(nonce) is not bytes or len(nonce) != NONCE_SIZE:
            raise ValueError(f"the nonce must be {NONCE_SIZE} random bytes that were never used before")
        self._node = node
        self._options = options
        self._nonce = nonce
        self._deadline: Instant | None = None
        self._is_over = False
        self._peer: Node | None = None
        self._spoken: list[bytes] = []
        """The bodies of `Hello` and `Challenge`, as far as they are known."""

    def handle(self, event: HandshakeEvent, now: Instant) -> _Effects:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`.

        After the end nothing has an effect.
        """
        if self._is_over:
            return ()
        match event:
            case Connected():
                return self._on_connected(now)
            case Received(body):
                return self._on_received(body)
            case ConnectionLost():
                self._finish()
                return (Lost(),)
            case Wake():
                if self._deadline is None or now < self._deadline:
                    return ()
                return self._on_timeout_due()
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._deadline

    def invariants(self) -> None:
        """Assert everything that must hold between two calls of `handle`."""
        assert not (self._is_over and self._deadline is not None), "it is over, and waits"
        assert len(self._spoken) <= 2, "more was said than there is to say"

    # Events ---------------------------------------------------------------------------------------------------------

    def _on_connected(self, now: Instant) -> _Effects:
        if self._deadline is not None:
            return ()
        # Rule 25: one deadline for everything. One per message would let a peer go on for ever.
        self._deadline = now + self._options.timeout_ns
        return self._begin()

    def _on_received(self, body: bytes) -> _Effects:
        try:
            message = unpacked(body)
        except Malformed as error:
            return self._refuse(Reason.MALFORMED, str(error))
        if isinstance(message, Refusal):
            self._finish()
            return (HandshakeRefused(message.reason, f"{self._called()} refused: {message.text}", by_peer=True),)
        return self._on_message(message, body)

    def _on_timeout_due(self) -> _Effects:
        return self._refuse(Reason.TIMEOUT, f"the handshake was not over after {self._options.timeout_ns / 1e9:g} s")

    def _begin(self) -> _Effects:
        raise AssertionError("each side has its own")

    def _on_message(self, message: Message, body: bytes) -> _Effects:
        raise AssertionError("each side has its own")

    # Answers --------------------------------------------------------------------------------------------------------

    def _refuse(self, reason: Reason, text: str) -> _Effects:
        self._finish()
        return (
            Send(packed(Refusal(reason, clipped_reason(text)))),
            HandshakeRefused(reason, f"{self._called()} was refused: {text}", by_peer=False),
        )

    def _unexpected(self, message: Message) -> _Effects:
        return self._refuse(Reason.MALFORMED, f"a {type(message).__name__} came out of turn")

    def _establish(self, version: int, kind: Kind) -> Established:
        self._finish()
        assert self._peer is not None
        return Established(version, self._peer, kind, secured=self._options.secret is not None)

    def _finish(self) -> None:
        self._is_over = True
        self._deadline = None

    def _called(self) -> str:
        return "the peer" if self._peer is None else f"the peer that calls itself {shown(str(self._peer))}"

    # Rules for both -------------------------------------------------------------------------------------------------

    def _objection(self, system: str, node: Node, secured: bool, nonce: bytes) -> tuple[Reason, str] | None:
        """Why we do not talk to somebody who says this, whatever he proves."""
        ours = self._options
        if system != ours.system:
            return Reason.SYSTEM, f"the systems {shown(system)} and {shown(ours.system)} do not talk to each other"
        if (node.node_id, node.generation) == (self._node.node_id, self._node.generation):
            return Reason.SELF, f"{shown(str(node))} is at both ends"
        if nonce == self._nonce:
            return Reason.SELF, "a nonce came back"
        if secured and ours.secret is None:
            return Reason.SECRET, "one side has a secret and the other has none"
        if not secured and ours.secret is not None:
            return Reason.SECRET, "a secret is needed"
        return None

    def _digest(self, role: bytes) -> bytes:
        """Rule 23. The bodies are hashed one by one, so that no byte can move from one to the other."""
        secret = self._options.secret
        if secret is None:
            return b""
        assert len(self._spoken) == 2
        said = b"".join(sha256(body).digest() for body in self._spoken)
        return hmac_new(secret, _LABEL + role + b"\0" + said, sha256).digest()

    def _is_proof(self, digest: bytes, role: bytes) -> bool:
        # Compared in constant time, and with one answer for every kind of wrong (rule 24).
        return compare_digest(digest, self._digest(role))


class Dialer(_Side):
    """The handshake of the end that dialled: `node` is who we are, and `kind` what the connection is for.

    `options` say whom we talk to. `nonce` is `NONCE_SIZE` random bytes that were never used before. Raises `ValueError`
    for another one.
    """

    __slots__ = ("_kind", "_peer_version")

    def __init__(self, node: Node, kind: Kind, options: HandshakeOptions, nonce: bytes) -> None:
        super().__init__(node, options, nonce)
        self._kind = kind
        self._peer_version = 0

    def _begin(self) -> _Effects:
        ours = self._options
        hello = Hello(
            ours.lowest_version,
            ours.highest_version,
            ours.system,
            self._node,
            self._kind,
            ours.secret is not None,
            self._nonce,
        )
        self._spoken.append(packed(hello))
        return (Send(self._spoken[0]),)

    def _on_message(self, message: Message, body: bytes) -> _Effects:
        match message, len(self._spoken):
            case Challenge(), 1:
                return self._on_challenge(message, body)
            case Welcome(digest), 2:
                return self._on_welcome(digest)
        return self._unexpected(message)

    def _on_challenge(self, challenge: Challenge, body: bytes) -> _Effects:
        self._peer = challenge.node
        ours = self._options
        if not ours.lowest_version <= challenge.version <= ours.highest_version:
            return self._refuse(Reason.VERSION, _versions(ours, challenge.version, challenge.version))
        objection = self._objection(challenge.system, challenge.node, challenge.secured, challenge.nonce)
        if objection is not None:
            return self._refuse(*objection)
        self._spoken.append(body)
        self._peer_version = challenge.version
        return (Send(packed(Proof(self._digest(_DIALER)))),)

    def _on_welcome(self, digest: bytes) -> _Effects:
        if not self._is_proof(digest, _LISTENER):
            return self._refuse(Reason.SECRET, "the secrets differ")
        return (self._establish(self._peer_version, self._kind),)


class Listener(_Side):
    """The handshake of the end that was dialled: `node` is who we are, and `kinds` which connections are taken.

    `options` say whom we talk to. `nonce` is `NONCE_SIZE` random bytes that were never used before. Raises `ValueError`
    for another one.
    """

    __slots__ = ("_hello", "_kinds", "_version")

    def __init__(self, node: Node, options: HandshakeOptions, nonce: bytes, kinds: tuple[Kind, ...] = (*Kind,)) -> None:
        super().__init__(node, options, nonce)
        self._kinds = kinds
        self._hello: Hello | None = None
        self._version = 0

    def _begin(self) -> _Effects:
        return ()

    def _on_message(self, message: Message, body: bytes) -> _Effects:
        match message, self._hello:
            case Hello(), None:
                return self._on_hello(message, body)
            case Proof(digest), Hello(kind=kind):
                return self._on_proof(digest, kind)
        return self._unexpected(message)

    def _on_hello(self, hello: Hello, body: bytes) -> _Effects:
        self._peer = hello.node
        ours = self._options
        version = min(ours.highest_version, hello.highest)
        if version < max(ours.lowest_version, hello.lowest):
            return self._refuse(Reason.VERSION, _versions(ours, hello.lowest, hello.highest))
        objection = self._objection(hello.system, hello.node, hello.secured, hello.nonce)
        if objection is not None:
            return self._refuse(*objection)
        if hello.kind not in self._kinds:
            return self._refuse(Reason.KIND, f"no {hello.kind.name.lower()} connections are taken here")
        self._hello, self._version = hello, version
        challenge = packed(Challenge(version, ours.system, self._node, ours.secret is not None, self._nonce))
        self._spoken += (body, challenge)
        return (Send(challenge),)

    def _on_proof(self, digest: bytes, kind: Kind) -> _Effects:
        if not self._is_proof(digest, _DIALER):
            return self._refuse(Reason.SECRET, "the secrets differ")
        return (Send(packed(Welcome(self._digest(_LISTENER)))), self._establish(self._version, kind))


def _versions(ours: HandshakeOptions, lowest: int, highest: int) -> str:
    return (
        f"one side speaks the versions {lowest} to {highest} of the protocol, "
        f"the other {ours.lowest_version} to {ours.highest_version}; update the older one"
    )
