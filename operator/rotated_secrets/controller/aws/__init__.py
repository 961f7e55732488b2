"""Access to AWS for each RotatedSecret: identities, change feeds, secrets that AWS services manage."""
