"""The wire: what is on it, and in which order it is legal."""
