"""Tests of the asyncio driver, on real event loops."""
