"""Plans rotations, and runs them over the protocols of the store, the database and the target Secret."""
