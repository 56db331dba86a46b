"""Tests that run every example, and the code of the README."""
