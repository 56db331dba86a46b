"""Fuzzing of what reads bytes from strangers: `python -m tests.fuzz TARGET`.

`frames.py`, `handshake.py`, `codec.py` and `envelopes.py` each have a function of some bytes that raises for a bug and
for nothing else. The tests call them with what Hypothesis makes up and with the files of `tests/proto/wire/corpus/`,
which `corpus.py` writes; the command calls them with what atheris makes up, which watches the lines that they reach.
Nothing is imported here, since atheris must see the modules when they are loaded.
"""
