"""An API server takes the CRD and enforces it: each rule, with the sentence that it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from rotated_secrets.api import names
from rotated_secrets.api.crd import custom_resource_definition
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import ConditionType, Reason
from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.stack import install_crd
from tests.support.kstatus import CURRENT, IN_PROGRESS, computed

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf"
FULL: Json = {
    "source": {"secretId": ARN, "region": "eu-west-1"},
    "database": {"tls": {"mode": "VerifyFull", "caSecretName": "rds-ca"}},
    "rotation": {
        "strategy": "AlternatingUsers",
        "schedule": "cron(0 2 ? * SUN *)",
        "rotateImmediately": True,
        "suspend": True,
        "adminSecretId": "shop/admin/orders",
        "cloneSuffix": "_b",
        "password": {
            "length": 40,
            "excludeCharacters": "lI1O0",
            "excludePunctuation": False,
            "excludeNumbers": True,
            "excludeUppercase": True,
            "excludeLowercase": False,
            "requireEachIncludedType": False,
        },
        "verifyQueries": ["SELECT 1 FROM prices LIMIT 1"],
        "rights": "Report",
    },
    "target": {
        "secretName": "orders",
        "type": "basic-auth",
        "labels": {"team": "orders"},
        "annotations": {"example.org/on-call": "see the wiki"},
        "template": {"DATABASE_URL": "postgresql://{{ username | urlencode }}@{{ host }}"},
        "includeKeys": "None",
        "creationPolicy": "Owner",
        "deletionPolicy": "Retain",
    },
}

OF_OTHERS = {
    **{f"app.kubernetes.io/{key}": "x" for key in ("name", "instance", "version", "component", "part-of")},
    "secrets-store.csi.k8s.io/used": "true",
    "cluster.x-k8s.io/cluster-name": "shop",
    "argocd.argoproj.io/secret-type": "repository",
    "notrotatedsecrets.io/a": "",
    "kubernetes.io": "a-name-without-a-domain",
}
"""Labels and annotations that others act on, and that are for users to set."""


@pytest.fixture(scope="module")
def installed(cluster: Cluster, api: Api) -> Api:
    install_crd(cluster)
    return api


def _object(spec: Json) -> Json:
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "orders"}, "spec": spec}


def _path(namespace: str, *more: str) -> str:
    return "/".join([f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}", *more])


def _create(api: Api, namespace: str, spec: Json, **query: Any) -> Json:
    return api.create(_path(namespace), _object(spec), **query)


def _minimal(**parts: Any) -> Json:
    return {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "AlternatingUsers"}, **parts}


def _rotation(strategy: str = "AlternatingUsers", **fields: Any) -> Json:
    return _minimal(rotation={"strategy": strategy, **fields})


def _webhook(**fields: Any) -> Json:
    webhook = {"url": "https://hooks.example.com/orders", "authSecretName": "webhook-auth", **fields}
    return {**_rotation("RandomValue"), "database": {"webhook": webhook}}


_CHARACTERS = ("excludePunctuation", "excludeNumbers", "excludeUppercase", "excludeLowercase")
REFUSED = [
    (_minimal(source={"secretId": "a b"}), "spec.source.secretId", "write the secret's name"),
    (_minimal(source={"secretId": ARN[:-7]}), "spec.source.secretId", "full ARN with the six characters at its end"),
    (
        _minimal(source={"secretId": ARN, "region": "eu-west-2"}),
        "spec.source",
        "is the ARN of a secret in another region",
    ),
    (_minimal(source={"secretId": "a", "region": "Ireland"}), "spec.source.region", "write the name of an AWS region"),
    (_minimal(source={"secretId": "a", "region": "us-east-1-fips"}), "spec.source.region", "the name of an AWS region"),
    (_minimal(source={"secretId": "a", "region": "fips-us-east-1"}), "spec.source.region", "write the region alone"),
    (
        _minimal(source={"secretId": "a", "credentials": {}}),
        "spec.source.credentials",
        "set serviceAccountName, roleArn or both",
    ),
    (
        _minimal(source={"secretId": "a", "credentials": {"roleArn": "arn:aws:iam::1:role/a"}}),
        "spec.source.credentials.roleArn",
        "write the ARN of an IAM role",
    ),
    (
        _minimal(database={"tls": {"caSecretName": "CA"}}),
        "spec.database.tls.caSecretName",
        "write the name of a Secret",
    ),
    (
        _minimal(database={"tls": {"mode": "Require", "caSecretName": "ca"}}),
        "spec.database.tls",
        "or leave caSecretName out",
    ),
    (_rotation("RandomValue", adminSecretId="a"), "spec.rotation", "leave adminSecretId out"),
    (_rotation("RandomValue", verifyQueries=["SELECT 1"]), "spec.rotation", "leave verifyQueries out"),
    ({**_rotation("RandomValue"), "database": {}}, "spec", "leave database out"),
    (_rotation(random={}), "spec.rotation", "only RandomValue makes random values"),
    (_rotation("RandomValue", random={"keys": []}), "spec.rotation.random.keys", "at least 1 items"),
    (_rotation("RandomValue", random={"keys": ["a", "a"]}), "spec.rotation.random.keys", "a key is named twice"),
    (_rotation("RandomValue", random={"prefix": "a b"}), "spec.rotation.random.prefix", "write printable ASCII"),
    (_rotation(retireAfter="1h"), "spec.rotation", "only DualPassword retires an old password"),
    (_rotation("DualPassword", retireAfter="a day"), "spec.rotation.retireAfter", "write a length of time"),
    (_rotation("External", adminSecretId="a"), "spec.rotation", "with External someone else sets the password"),
    (_webhook(url="http://hooks.example.com"), "spec.database.webhook.url", "write https://HOST/PATH"),
    (_webhook(authSecretName="No"), "spec.database.webhook.authSecretName", "write the name of a Secret"),
    ({**_webhook(), **_rotation("DualPassword")}, "spec", "a webhook serves the strategies"),
    ({**_webhook(), **_rotation(adminSecretId="a")}, "spec", "a webhook has its own admin"),
    (
        _minimal(database={"tls": {}, "webhook": {"url": "https://hooks.example.com", "authSecretName": "auth"}}),
        "spec.database",
        "write tls or webhook",
    ),
    (_rotation(schedule="0 2 * * *"), "spec.rotation.schedule", "write rate(N hours), rate(N days) or cron("),
    (_rotation(schedule="rate(999999 days)"), "spec.rotation.schedule", "a rate is at most 999 days"),
    (_rotation(adminSecretId="a b"), "spec.rotation.adminSecretId", "write the secret's name"),
    (_rotation(cloneSuffix="-b"), "spec.rotation.cloneSuffix", "write letters, digits and '_'"),
    (
        _rotation(password=dict.fromkeys(_CHARACTERS, True)),
        "spec.rotation.password",
        "every kind of character is excluded",
    ),
    (_rotation(password={"length": 7}), "spec.rotation.password.length", "8"),
    (_rotation(password={"length": 129}), "spec.rotation.password.length", "128"),
    (
        _rotation("Sometimes"),
        "spec.rotation.strategy",
        '"SingleUser", "AlternatingUsers", "DualPassword", "RandomValue", "External"',
    ),
    (_minimal(target={"secretName": "Orders"}), "spec.target.secretName", "write the name of a Secret"),
    *(
        (_minimal(target={"type": kind}), "spec.target.type", "Kubernetes would put a token for the cluster into it")
        for kind in ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
    ),
    (_minimal(target={"type": "my type"}), "spec.target.type", "write the type of a Secret"),
    (_minimal(target={"type": ""}), "spec.target.type", "write the type of a Secret"),
    (_minimal(target={"labels": {"app.kubernetes.io/managed-by": "Helm"}}), "spec.target.labels", "are reserved"),
    (_minimal(target={"labels": {"kubernetes.io/name": "a"}}), "spec.target.labels", "are reserved"),
    (
        _minimal(target={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}),
        "spec.target.annotations",
        "are reserved",
    ),
    (_minimal(target={"annotations": {"x.rotatedsecrets.io/a": ""}}), "spec.target.annotations", "are reserved"),
    (_minimal(target={"labels": {"-": "a"}}), "spec.target.labels", "write keys as NAME or DOMAIN/NAME"),
    (_minimal(target={"labels": {"team": "a b"}}), "spec.target.labels", "write label values with letters"),
    (_minimal(target={"annotations": {"rotatedsecrets.io/owner": "a/b"}}), "spec.target.annotations", "are reserved"),
    (_minimal(target={"annotations": {"a/b/c": ""}}), "spec.target.annotations", "write keys as NAME or DOMAIN/NAME"),
    (_minimal(target={"template": {"a/b": ""}}), "spec.target.template", "write template keys with letters"),
    (_minimal(target={"labels": {f"{'a' * 254}/{'b' * 63}": ""}}), "spec.target.labels", "at most 317 characters"),
    (_minimal(target={"annotations": {f"{'a' * 254}/b": ""}}), "spec.target.annotations", "at most 253 characters"),
    (
        _minimal(target={"annotations": dict.fromkeys("abcde", "x" * 4096)}),
        "spec.target.annotations",
        "annotations may have 16384 characters together",
    ),
    (
        _minimal(target={"template": {"a": "x" * 65536, "b": "y"}}),
        "spec.target.template",
        "templates may have 65536 characters together",
    ),
    (_minimal(target={"includeKeys": "None"}), "spec.target", "write keys, a template, or includeKeys: All"),
    (
        _minimal(target={"includeKeys": "None", "keys": []}),
        "spec.target",
        "write keys, a template, or includeKeys: All",
    ),
    (_minimal(target={"keys": [{"key": "a/b"}]}), "spec.target.keys[0]", "a Secret cannot have this key"),
    (_minimal(target={"keys": [{"key": "a", "name": "a/b"}]}), "spec.target.keys[0].name", "write the name of a key"),
    (
        _minimal(target={"keys": [{"key": "a"}, {"key": "b", "name": "a"}]}),
        "spec.target.keys",
        "two keys have one name",
    ),
    (_minimal(target={"creationPolicy": "None", "secretName": "a"}), "spec.target", "delivers no Secret"),
    (
        _minimal(target={"creationPolicy": "Merge", "deletionPolicy": "Retain", "type": "tls"}),
        "spec.target",
        "leave type out",
    ),
    (
        _minimal(target={"creationPolicy": "Merge", "deletionPolicy": "Retain", "immutable": True}),
        "spec.target",
        "leave immutable out",
    ),
    (_minimal(target={"creationPolicy": "None", "immutable": True}), "spec.target", "delivers no Secret"),
    (
        _minimal(target={"creationPolicy": "None"}, rollout={"restart": [{"kind": "Deployment", "name": "a"}]}),
        "spec",
        "leave rollout.restart out",
    ),
    (
        _minimal(rollout={"restart": [{"kind": "Job", "name": "a"}]}),
        "spec.rollout.restart[0].kind",
        "Unsupported value",
    ),
    (_minimal(target={"creationPolicy": "Merge"}), "spec.target", "write deletionPolicy: Retain"),
]


def _messages(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (
            rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"]
        )
        for inner in schema.values():
            yield from _messages(inner)


def test_each_rule_has_a_resource_below_that_breaks_it() -> None:
    silent = [
        text
        for text in _messages(custom_resource_definition()["spec"]["versions"][0])
        if not any(said in text for _, _, said in REFUSED)
    ]
    assert silent == []


@pytest.mark.parametrize(("spec", "field", "said"), REFUSED)
def test_a_bad_resource_is_refused_with_a_sentence(
    installed: Api, namespace: str, spec: Json, field: str, said: str
) -> None:
    with pytest.raises(StatusError) as caught:
        _create(installed, namespace, spec, dryRun="All")
    assert caught.value.code == 422
    causes = caught.value.causes
    assert any(cause["field"].startswith(field) and said in cause["message"] for cause in causes), causes


@pytest.mark.parametrize(
    "spec",
    [
        FULL,
        _minimal(),
        _rotation("RandomValue", verifyQueries=[]),
        _rotation("RandomValue", random={"keys": ["id", "secret"], "format": "Base64Url", "prefix": "sk_live_"}),
        _rotation("DualPassword", retireAfter="1d12h"),
        _rotation("External", schedule="rate(30 days)"),
        _webhook(caSecretName="hooks-ca"),
        {**_webhook(), **_rotation("AlternatingUsers", verifyQueries=[])},
        _minimal(source={"secretId": "rds!cluster-1"}),
        _minimal(target={"creationPolicy": "None"}),
        _minimal(target={"creationPolicy": "None", "deletionPolicy": "Retain"}),
        _minimal(target={"creationPolicy": "None", "labels": {}, "annotations": {}, "template": {}}),
        _minimal(target={"creationPolicy": "Merge", "deletionPolicy": "Retain", "labels": {"example.org/a": ""}}),
        _minimal(target={"includeKeys": "None", "template": {"URL": "{{ host }}"}}),
        _minimal(target={"includeKeys": "None", "keys": [{"key": "a/b", "name": "a"}, {"key": "a/b", "name": "b"}]}),
        _minimal(target={"keys": [{"key": f"k{number}" * 60, "name": f"n{number}" * 60} for number in range(64)]}),
        _minimal(target={"type": "example.org/anything"}),
        _minimal(target={"type": "kubernetes.io/tls"}),
        _minimal(target={"labels": OF_OTHERS, "annotations": OF_OTHERS}),
        _minimal(database={"tls": {"caSecretName": "rds-ca"}}),
        _minimal(rollout={}),
        _rotation(schedule="rate(10 days)"),
        _minimal(target={"template": {f"k{number}": "é" * 1024 for number in range(64)}}),
        _minimal(target={"annotations": dict.fromkeys("abcd", "x" * 4096)}),
    ],
)
def test_a_good_resource_is_taken_and_read_back_as_it_was_meant(installed: Api, namespace: str, spec: Json) -> None:
    made = RotatedSecret.parse(_create(installed, namespace, spec, fieldValidation="Strict"))
    assert made.spec == type(made.spec).model_validate(spec)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": {"secretId": "shop/other"}}, "create another RotatedSecret"),
        ({"rotation": {"cloneSuffix": "_c"}}, "the clone user with the present suffix exists already"),
        ({"target": {"secretName": "other"}}, "would stay behind, with a credential that stops working"),
        ({"target": {"creationPolicy": "None"}}, "would stay behind, with a credential that stops working"),
    ],
)
def test_what_a_rotation_depends_on_cannot_be_changed(installed: Api, namespace: str, change: Json, said: str) -> None:
    _create(installed, namespace, _minimal())
    with pytest.raises(StatusError) as caught:
        installed.patch(_path(namespace, "orders"), {"spec": change})
    assert caught.value.code == 422
    assert said in caught.value.message
    installed.patch(_path(namespace, "orders"), {"spec": {"rotation": {"strategy": "SingleUser"}}})


def test_writing_the_name_that_the_secret_has_anyway_changes_nothing(installed: Api, namespace: str) -> None:
    _create(installed, namespace, _minimal())
    for name in ("orders", None, "orders"):
        installed.patch(_path(namespace, "orders"), {"spec": {"target": {"secretName": name}}})
    with pytest.raises(StatusError, match="would stay behind"):
        installed.patch(_path(namespace, "orders"), {"spec": {"target": {"secretName": "other"}}})


def test_a_resource_that_has_written_no_secret_may_name_any(installed: Api, namespace: str) -> None:
    _create(installed, namespace, _minimal(target={"creationPolicy": "None"}))
    installed.patch(
        _path(namespace, "orders"), {"spec": {"target": {"creationPolicy": "Owner", "secretName": "other"}}}
    )
    with pytest.raises(StatusError, match="would stay behind"):
        installed.patch(_path(namespace, "orders"), {"spec": {"target": {"secretName": None}}})


def test_an_unknown_field_is_pointed_out(cluster: Cluster, installed: Api, namespace: str) -> None:
    written = json.dumps(_object(_minimal(source={"secretId": "a", "endpoint": "http://169.254.169.254"})))
    applied = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=written, check=False)
    assert applied.returncode != 0
    assert 'unknown field "spec.source.endpoint"' in applied.stderr


def test_status_is_written_apart_and_a_patch_removes_what_is_gone(installed: Api, namespace: str) -> None:
    made = _create(installed, namespace, _minimal())
    claim = {"trigger": "Creation", "fromVersionId": "v1", "startedAt": "2026-11-22T02:00:00.123456Z"}
    before = RotatedSecret.parse({**made, "status": {"rotation": claim, "engine": "postgres"}}).status
    claimed = installed.patch(_path(namespace, "orders", "status"), {"status": before.to_patch()})
    assert RotatedSecret.parse(claimed).status == before
    after = before.model_copy(update={"rotation": None})
    patch = {"metadata": {"resourceVersion": claimed["metadata"]["resourceVersion"]}, "status": after.to_patch()}
    served = installed.patch(_path(namespace, "orders", "status"), patch)
    assert RotatedSecret.parse(served).status == after
    with pytest.raises(StatusError) as caught:
        installed.patch(_path(namespace, "orders", "status"), patch)
    assert caught.value.code == 409


def test_programs_that_wait_see_a_new_resource_in_progress_until_an_operator_has_written(
    installed: Api, namespace: str
) -> None:
    made = _create(installed, namespace, _minimal())
    assert made["status"] == {"observedGeneration": -1}
    assert computed(made) == IN_PROGRESS
    works = RotatedSecret.parse(made).status.with_condition(
        ConditionType.READY, True, Reason.CREDENTIAL_WORKS, "it works", now=datetime.now(UTC), generation=1
    )
    patch = {"status": works.model_copy(update={"observed_generation": 1}).to_patch()}
    assert computed(installed.patch(_path(namespace, "orders", "status"), patch)) == CURRENT
    assert (
        computed(installed.patch(_path(namespace, "orders"), {"spec": {"rotation": {"suspend": True}}})) == IN_PROGRESS
    )


def test_kubectl_get_answers_what_a_person_asks(cluster: Cluster, installed: Api, namespace: str) -> None:
    _create(installed, namespace, _minimal())
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "CredentialWorks",
        "message": "all well",
        "lastTransitionTime": "2026-11-22T02:00:00Z",
    }
    seen = {
        "conditions": [condition],
        "engine": "postgres",
        "activeUser": "orders_clone",
        "lastRotationTime": "2026-11-22T02:00:00Z",
        "nextRotationTime": "2099-11-29T02:00:00Z",
    }
    installed.patch(_path(namespace, "orders", "status"), {"status": seen})
    head, row = cluster.kubectl("get", "rsec", "-n", namespace).stdout.splitlines()
    assert head.split("  ")[0] == "NAME"
    for cell in ("True", "AlternatingUsers", "postgres", "orders_clone", "2099-11-29T02:00:00Z"):
        assert cell in row
    assert "<invalid>" not in row
    assert "CredentialWorks" in cluster.kubectl("get", "rotation", "-n", namespace, "-o", "wide").stdout


def test_kubectl_explain_teaches(cluster: Cluster, installed: Api) -> None:
    told = cluster.kubectl("explain", "rotatedsecret.spec.rotation.schedule").stdout
    assert "AWS's grammar" in told
