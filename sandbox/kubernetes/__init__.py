"""Kubernetes for the demo and the tests: any cluster, a real control plane, or the embedded API."""
