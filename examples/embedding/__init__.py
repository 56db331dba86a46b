"""The protocols of `casty_proto` in other runtimes: on trio, and in threads with plain sockets. See `README.md`."""
