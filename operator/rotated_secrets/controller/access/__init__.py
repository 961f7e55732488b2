"""The access policy: which namespaces may use which secrets."""
