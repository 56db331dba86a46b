"""An application: a map of registers, which remembers everything that it executed."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable

from casty_proto.raft import Command, Entry


class Application:
    """Executes `key=value`, and keeps the answers of sessions as the contract asks."""

    def __init__(self) -> None:
        self.index = 0
        self.executed: list[tuple[int, bytes]] = []
        self.registers: dict[bytes, bytes] = {}
        self.answers: dict[int, dict[int, int]] = {}

    def execute(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            command = entry.payload
            assert isinstance(command, Command)
            assert entry.index > self.index, f"{entry.index} after {self.index}"
            self.index = entry.index
            self.executed.append((entry.index, command.data))
            key, separator, value = command.data.partition(b"=")
            if separator:
                self.registers[key] = value
            if command.session:
                answers = self.answers.setdefault(command.session, {})
                for serial in [serial for serial in answers if serial < command.floor]:
                    del answers[serial]
                answers[command.serial] = len(self.executed)

    def forget(self, sessions: Iterable[int]) -> None:
        for session in sessions:
            self.answers.pop(session, None)

    def snapshot(self) -> bytes:
        return repr((self.index, self.executed, self.registers, self.answers)).encode()

    def restore(self, index: int, data: bytes) -> None:
        self.index, self.executed, self.registers, self.answers = literal_eval(data.decode())
        assert self.index <= index
