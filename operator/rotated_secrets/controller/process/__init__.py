"""The operator process: start, leader election, probes, shutdown."""
