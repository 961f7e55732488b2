"""Servers that do evil: each protocol as a list of stages, and kinds of evil that fit any of them."""
