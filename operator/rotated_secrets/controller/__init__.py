"""The operator at work: what it watches, when it looks at what, and who of several replicas does."""
