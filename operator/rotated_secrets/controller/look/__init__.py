"""One look at a RotatedSecret, in four stages: authorise, fetch, interpret, connect."""
