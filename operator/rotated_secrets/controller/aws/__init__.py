"""AWS as each RotatedSecret reaches it: identities, change feeds, secrets that AWS services manage."""
