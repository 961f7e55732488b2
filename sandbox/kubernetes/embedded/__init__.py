"""A small API server that keeps to Kubernetes' contract for what an operator, its tests and kubectl use.

`tests/cluster/` runs one suite against it and against a real API server, so that the two cannot drift apart.
Where it knowingly differs:

- everything is in memory; of the controllers there are garbage collection and the end of namespaces and CRDs alone;
- RBAC has its rules, but no aggregation of ClusterRoles and no check of who may grant what; of the first ClusterRoles
  there are those alone that people cannot do without; a token is bound to its ServiceAccount alone, not to a pod;
- versions of a CRD are converted by their name only; of built-in kinds only Secrets, ConfigMaps, Events, Leases,
  Namespaces and Pods are checked and filled in beyond the types of their fields;
- rules in CEL are not type-checked and their cost is not estimated (see `cel`), a transition rule is not asked about
  a value that stays as it was;
- owners of fields are kept per field, not per map (see `ownership`); bookmarks come when time is up, not as etcd tells.
"""
