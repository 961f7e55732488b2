"""A small API server that keeps to Kubernetes' contract for what an operator, its tests and kubectl use.

It holds everything in memory, runs no controllers but garbage collection and namespace deletion, and enforces no
RBAC. `tests/cluster/` runs one suite against it and against a real API server, so that the two cannot drift apart.
"""
