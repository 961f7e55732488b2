"""Requests to the operator (rotate, resync): how far they are, how they ended, and waiting for them."""
