"""Connections between nodes: one listening socket, links to peers, TLS. It carries frames and knows nothing of actors.

A message's way out: a `Peer` pushes its frame into the session of its link, and writes all that waits once in each turn
of the loop. Its way in: a `Connection` cuts what it reads into frames and gives them to its peer, which counts them and
hands them to its `Conversation`.
"""

from .options import Codec, Remote
from .tls import Contexts, Tls

__all__ = ["Codec", "Contexts", "Remote", "Tls"]
