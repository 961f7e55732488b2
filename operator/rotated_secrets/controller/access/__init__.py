"""The access policy: which namespaces may name which secrets."""
