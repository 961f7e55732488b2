"""When a RotatedSecret is looked at, and how much runs at a time: queue, due times, limits."""
