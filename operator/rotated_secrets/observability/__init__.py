"""Logs, metrics and Kubernetes Events. Knows no package above it."""
