"""Endpoints and copies of databases, according to AWS APIs."""
