"""``python -m rotated_secrets`` is the command ``rotated-secrets``."""

from rotated_secrets.cli.main import app

app(prog_name="rotated-secrets")
