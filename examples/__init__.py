"""Runnable programs, each a guide."""
