"""What AWS's own APIs say of databases: where they answer, and which is a copy of which."""
