"""MySQL and Aurora MySQL: how their users' passwords are set, tested and kept equal in rights."""
