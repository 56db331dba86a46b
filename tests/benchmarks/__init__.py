"""Benchmarks: `python -m tests.benchmarks`. Ratios against references measured in the same run; never asserted."""
