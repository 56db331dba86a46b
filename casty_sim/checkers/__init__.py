"""What is asserted about a run: each checker watches effects, records and replies, never the inside of a machine."""
