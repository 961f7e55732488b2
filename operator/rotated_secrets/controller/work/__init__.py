"""When RotatedSecrets are worked on, and how many at a time: queue, due times, limits, cache."""
