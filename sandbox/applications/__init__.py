"""Applications at the sandbox's database servers: one module an engine, all with the words of :mod:`base`."""
