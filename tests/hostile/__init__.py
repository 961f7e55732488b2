"""The operator as a process in 512 MiB, beside servers that do evil."""
