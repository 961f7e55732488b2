"""Secret stores: one protocol, and one file for each store."""
