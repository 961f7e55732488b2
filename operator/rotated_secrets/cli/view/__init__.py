"""How RotatedSecrets are printed, for people and for programs."""
