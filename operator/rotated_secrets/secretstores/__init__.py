"""Where versions live: one protocol, one file a store."""
