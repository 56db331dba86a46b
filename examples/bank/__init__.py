"""A bank on a cluster: accounts that keep their money when nodes are lost, and transfers that happen once.

`python -m examples.bank` runs it on this machine for some seconds. `account.py` is the part to read first; `branch.py`
is a node, and `teller.py` the programs that use the bank. `simulated.py` runs the same code under simulation, where
every seed is another disaster: `python -m casty_sim run examples.bank.simulated:test_no_money_is_lost --seeds 1000`.
"""
