"""A sensor pipeline on a cluster: three nodes that produce readings, and a client outside that consumes all of them.

`python -m examples.sensors` runs all of it on this machine, kills a node partway, and exits with 0 only if every
reading has arrived. `node.py` and `client.py` are the programs. They run in containers as they are: `Dockerfile` makes
an image of both, and the first lines of `compose.yaml` and `kubernetes.yaml` say how to run them.
"""
