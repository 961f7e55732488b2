"""The running operator: its watches, its work queue, its access to AWS, and its leader election."""
