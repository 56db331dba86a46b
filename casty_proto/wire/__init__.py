"""What goes over a connection: frames, values in them, and the handshake that comes first.

A driver cuts what it reads with a `FrameDecoder`, gives the bodies to a `Dialer` or `Listener` until the connection is
open, and from then on to a `Decoder`. What it sends it makes with an `Encoder`. `Types`, one for the whole system, says
which classes may travel. The rules follow; every test cites the one that it proves.

Frames
 1. A frame is the length of its body in four bytes, big-endian, and the body.
 2. A body has at least one byte, and no more than the limit. Any other length ends the connection, as soon as its four
    bytes are there and before any room is made for the body. A sender makes no such frame.
 3. Frames may arrive in pieces and many at a time. No more is kept than what has come of the unfinished one.
 4. The limit may change between two frames: it is small until the handshake is over.

Values
 5. What goes in comes out equal and of the same type: `None`, `bool`, `int` of any size, `float`, `str`, `bytes`,
    `bytearray`, `complex`, `list`, `tuple`, `set`, `frozenset`, `dict`, those of `datetime`, `Decimal`; dataclasses,
    attrs classes, enums and named tuples; and what was registered.
 6. Anything else is an error at the sender that names the place in the value, and so is a value that is part of itself.
    Nothing was sent then, and the next value can be.
 7. The bytes depend on the value and on what was sent before, on nothing else.
 8. A type is announced once for each connection and direction, with its name and the names of its fields, in the body
    that first has an object of it. It is a number from then on; numbers are counted from 32 on.
 9. Two versions of a class talk to each other. Fields that are unknown are ignored, and fields that are missing take
    their defaults. One without a default is refused by name.
10. Size, depth, and the numbers of values, types and fields are limited, at the sender and at the receiver, and checked
    before anything is made of a body.

Names
11. `@message(name=...)` gives a class a name of its own, which stays when the class moves.
12. Any other class goes by `module:Qualname`. The receiver finds it only if the module is loaded and the class is
    there, under its own name. Nothing is imported, evaluated, or asked for its attributes.
13. Nothing is called but the constructor of a dataclass, an attrs class, an enum or a named tuple, and what was
    registered.
14. `strict` allows only classes with `@message` and registered ones.
15. A registered class, and no subclass of it, is sent as what its encoder returns.
16. A receiver tells apart what is no value and ends the connection (`Malformed`), and what it cannot have here, after
    which the connection is as good as before (`Refused`).
17. Texts of errors quote at most a line of what a peer sent.
18. Any exception can be sent, as its name, its arguments if they can be sent, and its text.
19. A reference is sent as what the driver makes of it, and bound to the receiver by the receiver's driver.

Values that stand for themselves (`items.py`)
27. Such a body announces all types that it uses, relies on nothing said before, and says nothing about the next one.

Handshake
20. `Hello`, `Challenge`, `Proof`, `Welcome`: four messages open a connection, and none of them is sent before the one
    that it answers.
21. The highest version that both speak is used. Without one there is no connection.
22. Both have the same system name and are different nodes. A listener may refuse kinds of connections.
23. With a secret each proves to the other that it knows it, the dialer first. A proof covers the role and all that both
    have said, two fresh nonces included, so it is of use nowhere else.
24. A secret is right or wrong. How wrong cannot be learned, neither from the reason nor from the time.
25. The whole of it has one deadline.
26. Whatever else comes ends the connection. Both sides know the reason: who refuses says so before it closes.
"""

from .decoder import Decoder
from .encoder import Encoder
from .errors import DecodeError, EncodeError, FrameError, Malformed, Refused, WireError
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
from .exceptions import RemoteException
from .frame import FrameDecoder, frame
from .handshake import Dialer, Listener
from .items import ItemDecoder, ItemEncoder
from .messages import HANDSHAKE_FRAME_MAX, NONCE_SIZE, Kind, Node, Reason
from .options import HandshakeOptions, WireOptions
from .types import Types, message

__all__ = [
    "HANDSHAKE_FRAME_MAX",
    "NONCE_SIZE",
    "Connected",
    "ConnectionLost",
    "DecodeError",
    "Decoder",
    "Dialer",
    "EncodeError",
    "Encoder",
    "Established",
    "FrameDecoder",
    "FrameError",
    "HandshakeEffect",
    "HandshakeEvent",
    "HandshakeOptions",
    "HandshakeRefused",
    "ItemDecoder",
    "ItemEncoder",
    "Kind",
    "Listener",
    "Lost",
    "Malformed",
    "Node",
    "Reason",
    "Received",
    "Refused",
    "RemoteException",
    "Send",
    "Types",
    "WireError",
    "WireOptions",
    "frame",
    "message",
]
