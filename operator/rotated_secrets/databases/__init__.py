"""The databases that credentials log in to: one protocol, one package for each engine."""
