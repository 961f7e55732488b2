"""Keeps the target Secret equal to the current version. Knows Kubernetes, but neither the store nor databases."""
