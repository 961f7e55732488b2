"""Where credentials log in: one protocol, one file an engine."""
