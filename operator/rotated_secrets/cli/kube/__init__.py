"""What the command line reads from, watches in and writes to the Kubernetes API."""
