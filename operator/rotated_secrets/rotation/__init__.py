"""What to do next in a rotation, and doing it through the store's and the database's protocols."""
