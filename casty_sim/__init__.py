"""The deterministic simulation driver: the same machines, on a virtual clock and a simulated network."""
