"""Pure state machines: actors, streams and cluster protocols without I/O, clocks or threads.

Nothing here opens a socket, reads a clock or draws from a global source of randomness. A driver feeds events in
and carries effects out; `casty_proto.machine` states the contract that every protocol follows.
"""
