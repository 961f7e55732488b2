"""Keeps the target Secret equal to the current version. Knows Kubernetes, and neither the store nor databases."""
