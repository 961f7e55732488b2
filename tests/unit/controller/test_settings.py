"""Settings from flags and variables, and the errors of invalid ones."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from rotated_secrets.controller import settings as module
from rotated_secrets.controller.settings import InvalidSettings, Settings, flag, variable


def test_every_setting_has_a_default_and_a_help_text_with_its_unit() -> None:
    assert Settings.parse({}).minimum_interval == 4 * 3600
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation is float:
            assert "seconds" in field.description, name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("90s", 90), ("1m30s", 90), ("10m", 600), ("4h", 14400), ("1d", 86400), ("250ms", 0.25)],
)
def test_durations_may_have_units(text: str, seconds: float) -> None:
    assert Settings.parse({"resync_interval": text}).resync_interval == seconds


def test_lists_are_separated_by_commas() -> None:
    settings = Settings.parse({"namespaces": "shop, billing,", "allowed_networks": "127.0.0.0/8,::1/128"})
    assert settings.namespaces == ("shop", "billing")
    assert settings.allowed_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"resync_interval": "soon"}, "--resync-interval: 'soon' is not a length of time; write for example 90s"),
        ({"resync_interval": "0"}, "--resync-interval: input should be greater than 0"),
        ({"threads": "many"}, "--threads: input should be a valid integer"),
        ({"threads": "0"}, "--threads: input should be greater than or equal to 1"),
        ({"probe_port": "70000"}, "--probe-port: input should be less than or equal to 65535"),
        ({"engines": "postgres,db2"}, "--engines: there is no engine db2; the engines are aurora-mysql,"),
        ({"log_format": "xml"}, "--log-format: input should be 'json' or 'text'"),
        ({"allowed_networks": "127.0.0.1/8"}, "--allowed-networks: 127.0.0.1/8 has host bits set; write networks as"),
        ({"renew_deadline": "20s"}, "--lease-duration must be longer than --renew-deadline"),
        ({"backoff_base": "10m"}, "--backoff-cap must not be less than --backoff-base"),
        ({"access_policy_file": "/nowhere"}, "--access-policy-file: there is no file /nowhere that can be read"),
    ],
)
def test_error_of_an_invalid_setting_names_its_flag(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{re.escape(sentence)}"):
        Settings.parse(given)


def test_all_invalid_settings_are_reported_together() -> None:
    with pytest.raises(InvalidSettings, match=r"--threads: .*; --log-level: "):
        Settings.parse({"threads": "x", "log_level": "LOUD"})


def test_each_replica_has_a_different_identity() -> None:
    assert Settings.parse({}).identity != Settings.parse({}).identity
    assert Settings.parse({"identity": "me"}).identity == "me"


def test_names_of_flags_and_variables() -> None:
    assert (flag("aws_region"), variable("aws_region")) == ("--aws-region", "ROTATED_SECRETS_AWS_REGION")


def test_aws_region_variable_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert Settings.parse({}).aws_region == "eu-central-1"
    assert Settings.parse({"aws_region": "eu-west-1"}).aws_region == "eu-west-1"


def test_the_pods_namespace_has_the_lease_only_in_the_pods_own_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pod may work with another cluster, as one of a CI or of a developer does."""
    namespace, kubeconfig = tmp_path / "namespace", tmp_path / "kubeconfig"
    namespace.write_text("operators\n")
    kubeconfig.touch()
    monkeypatch.setattr(module, "SERVICE_ACCOUNT_NAMESPACE", namespace)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert Settings.parse({}).lease_namespace == "operators"
    assert Settings.parse({"kubeconfig": str(kubeconfig)}).lease_namespace == ""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert Settings.parse({}).lease_namespace == ""
    assert Settings.parse({"lease_namespace": "there"}).lease_namespace == "there"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert Settings.parse({}).lease_namespace == "", "on a laptop"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    namespace.unlink()
    assert Settings.parse({}).lease_namespace == ""
