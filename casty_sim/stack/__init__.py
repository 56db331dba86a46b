"""What a simulated host has of a network stack: connections over a network that loses, repeats and reorders packets."""
