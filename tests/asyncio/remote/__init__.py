"""Tests of what systems of different processes say to each other, over real sockets."""
