"""What the operator tells people and machines: logs, metrics, Kubernetes Events. Knows no room above it."""
