"""The command line: ``rotated-secrets`` and ``kubectl rotatedsecret``."""
