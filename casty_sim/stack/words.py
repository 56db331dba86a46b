"""Packets of connections in words, for traces."""

from __future__ import annotations

import re

from .tcp import AGREE, ASK, DATA, END, PROBE, RESET, Segment, key_of_peer

KINDS = {ASK: "connect", AGREE: "accept", DATA: "data", END: "end", RESET: "reset", PROBE: "probe"}
_TEXT = re.compile(rb"[ -~]{4,}")
SHOWN = 120


def kind_of(segment: Segment) -> str:
    """What a packet is for, in a word."""
    kind, _, _, _, _, body = segment
    return "ack" if kind == DATA and not body else KINDS[kind]


def words_of(segment: Segment) -> str:
    """What is in a packet: the connection, the numbers of its bytes, and what of them can be read."""
    kind, key, seq, acked, room, body = segment
    name = f"connection {key_of_peer(key) >> 1}"
    if isinstance(body, tuple):
        return f"{name}: {body[0]}:{body[1]} connects to {body[2]}:{body[3]}"
    if kind == DATA and body:
        text = b" ".join(_TEXT.findall(body)).decode()
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        return f"{name}: bytes {seq} to {seq + len(body) - 1} ({len(body)}), has {acked}: {shown}"
    return f"{name}: {kind_of(segment)} at {seq}, has {acked}, room for {room}"
