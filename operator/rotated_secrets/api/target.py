"""The target of a RotatedSecret: the Kubernetes Secret that its users mount. Docstrings are for ``kubectl explain``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from rotated_secrets.api.fields import DNS_NAME, KubernetesName
from rotated_secrets.api.names import CORE_DOMAINS, GROUP, MANAGED_BY_LABEL
from rotated_secrets.api.rules import CelRule, WrittenModel, keys_at_most, keys_match, text_matches, texts_at_most

OPAQUE: Final = "Opaque"
"""The type of a Secret that names none."""
SHORT_TYPES: Final[Mapping[str, str]] = {
    name: f"kubernetes.io/{name}" for name in ("basic-auth", "tls", "dockerconfigjson", "ssh-auth")
}
"""Types of Kubernetes that may be written without its domain."""
TOKEN_TYPES: Final = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
"""Types of Secret that hold a token for the cluster itself: the control plane acts on them."""


class IncludeKeys(StrEnum):
    """Whether the target Secret gets the secret value's own keys."""

    ALL = "All"
    NONE = "None"


class CreationPolicy(StrEnum):
    """Who owns the target Secret."""

    OWNER = "Owner"
    MERGE = "Merge"
    NONE = "None"


class DeletionPolicy(StrEnum):
    """What happens to the target Secret when the RotatedSecret is deleted."""

    DELETE = "Delete"
    RETAIN = "Retain"


_QUALIFIED_NAME = f"({DNS_NAME}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
_LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_RESERVED = "([-a-z0-9.]+[.])?" + "|".join(domain.replace(".", "[.]") for domain in (GROUP, *CORE_DOMAINS))

_unreserved_keys = CelRule(
    f"self.all(key, key != '{MANAGED_BY_LABEL}' && !key.matches('^({_RESERVED})/'))",
    f"{MANAGED_BY_LABEL} and the domains {GROUP} and {', '.join(CORE_DOMAINS)} are reserved: use another one",
    lambda entries: not any(_is_reserved(key) for key in entries),
)
_DATA_KEY = "[-._a-zA-Z0-9]{1,253}"
_KEY_LENGTH = 253 + len("/") + 63
_TEMPLATES_LENGTH = 65536
_ANNOTATIONS_LENGTH = 16384

_short_keys = keys_at_most(_KEY_LENGTH)
_short_domains = keys_match("([^/]{1,253}/)?[^/]*", "write the domain of a key with at most 253 characters")
_qualified_keys = keys_match(
    _QUALIFIED_NAME, "write keys as NAME or DOMAIN/NAME, the name with at most 63 letters, digits, '-', '_' and '.'"
)


def _is_reserved(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    ours = domain == GROUP or domain.endswith(f".{GROUP}")
    return key == MANAGED_BY_LABEL or (bool(slash) and (ours or domain in CORE_DOMAINS))


class TargetKey(WrittenModel):
    """A key of the secret value, and what it is named in the Secret."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            f"has(self.name) || self.key.matches('^({_DATA_KEY})$')",
            "a Secret cannot have this key: write a name for it, of letters, digits, '-', '_' and '.'",
            lambda self: self.name is not None or re.fullmatch(_DATA_KEY, self.key) is not None,
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key of the secret value; `value` if that is not a JSON object."""

    name: (
        Annotated[
            str,
            Field(max_length=253),
            text_matches(_DATA_KEY, "write the name of a key with letters, digits, '-', '_' and '.'"),
        ]
        | None
    ) = None
    """Key of the Secret. Default: the same."""

    @property
    def name_in_secret(self) -> str:
        return self.name if self.name is not None else self.key


_NAME = "(has({0}.spec.target.secretName) ? {0}.spec.target.secretName : {0}.metadata.name)"

SAME_SECRET = CelRule(
    "oldSelf.spec.target.creationPolicy == 'None' || (self.spec.target.creationPolicy != 'None' && "
    f"{_NAME.format('self')} == {_NAME.format('oldSelf')})",
    "the Secret that was written would stay behind, with a credential that stops working: leave target.secretName and "
    "target.creationPolicy as they are, or create another RotatedSecret",
)
"""A rule for the whole resource, because ``secretName`` is its name where it is left out."""


class Target(WrittenModel):
    """The Kubernetes Secret that follows the secret's current version."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.includeKeys != 'None' || self.creationPolicy == 'None' || "
            "(has(self.template) && size(self.template) > 0) || (has(self.keys) && size(self.keys) > 0)",
            "includeKeys: None would deliver an empty Secret: write keys, a template, or includeKeys: All",
            lambda self: (
                self.include_keys is not IncludeKeys.NONE or not self.is_delivered or bool(self.template or self.keys)
            ),
        ),
        CelRule(
            # An empty map is as good as none, which is what the operator sees.
            "self.creationPolicy != 'None' || (!has(self.secretName) && self.type == 'Opaque' && !self.immutable && "
            "self.includeKeys == 'All' && (!has(self.labels) || size(self.labels) == 0) && "
            "(!has(self.annotations) || size(self.annotations) == 0) && "
            "(!has(self.template) || size(self.template) == 0) && (!has(self.keys) || size(self.keys) == 0))",
            "creationPolicy: None delivers no Secret: leave secretName, type, immutable, labels, annotations, "
            "template, includeKeys and keys out",
            lambda self: (
                self.is_delivered
                or (
                    self.secret_name is None
                    and not (self.labels or self.annotations or self.template or self.keys)
                    and self.type == OPAQUE
                    and not self.immutable
                    and self.include_keys is IncludeKeys.ALL
                )
            ),
        ),
        CelRule(
            "self.creationPolicy != 'Merge' || self.type == 'Opaque'",
            "with creationPolicy: Merge the type is that of the existing Secret: leave type out",
            lambda self: self.creation_policy is not CreationPolicy.MERGE or self.type == OPAQUE,
        ),
        CelRule(
            "self.creationPolicy != 'Merge' || !self.immutable",
            "with creationPolicy: Merge the Secret belongs to someone else and is not replaced: leave immutable out",
            lambda self: self.creation_policy is not CreationPolicy.MERGE or not self.immutable,
        ),
        CelRule(
            "self.creationPolicy != 'Merge' || self.deletionPolicy == 'Retain'",
            "with creationPolicy: Merge the Secret belongs to someone else and stays: write deletionPolicy: Retain",
            lambda self: (
                self.creation_policy is not CreationPolicy.MERGE or self.deletion_policy is DeletionPolicy.RETAIN
            ),
        ),
    )

    secret_name: KubernetesName | None = None
    """Name of the Secret, in the namespace of this resource. Default: the name of this resource. Cannot be changed to
    another one once a Secret is written."""

    type: Annotated[
        str,
        Field(min_length=1, max_length=253),
        text_matches("[!-~]+", "write the type of a Secret, in ASCII and without spaces"),
        CelRule(
            f"!(self in [{', '.join(map(repr, TOKEN_TYPES))}])",
            "Kubernetes would put a token for the cluster into it: write another type",
            lambda kind: kind not in TOKEN_TYPES,
        ),
    ] = OPAQUE
    """Type of the Secret: any but that of a token for the cluster. Kubernetes requires certain keys for its own:
    `username` or `password` for `basic-auth`, `tls.crt` and `tls.key` for `tls`, `.dockerconfigjson` for
    `dockerconfigjson`, `ssh-privatekey` for `ssh-auth`; these four may be written with or without `kubernetes.io/`. The
    type of a Secret cannot be changed: delete the Secret, and the operator creates it again."""

    immutable: bool = False
    """Whether the Secret is immutable. One whose values or type have to change is then deleted, and created again. Pods
    that run do not get the new value: restart them, for example by `rollout.restart`."""

    labels: Annotated[
        dict[
            str,
            Annotated[
                str,
                Field(max_length=63),
                text_matches(_LABEL_VALUE, "write label values with letters, digits, '-', '_' and '.'"),
            ],
        ],
        Field(max_length=32),
        _short_keys,
        _short_domains,
        _unreserved_keys,
        _qualified_keys,
    ] = Field(default_factory=dict)
    """Labels for the Secret, in addition to the operator's own."""

    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]],
        Field(max_length=32),
        _short_keys,
        _short_domains,
        _unreserved_keys,
        _qualified_keys,
        texts_at_most(_ANNOTATIONS_LENGTH, "annotations"),
    ] = Field(default_factory=dict)
    """Annotations for the Secret, in addition to the operator's own; 16,384 characters at most in all values."""

    template: Annotated[
        dict[str, Annotated[str, Field(max_length=_TEMPLATES_LENGTH)]],
        Field(max_length=64),
        keys_match(_DATA_KEY, "write template keys with letters, digits, '-', '_' and '.'"),
        texts_at_most(_TEMPLATES_LENGTH, "templates"),
    ] = Field(default_factory=dict)
    """Keys to add to the Secret, each with a Jinja2 template over the secret value's keys, for example
    `postgresql://{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}:{{ port }}/{{ dbname }}`. Names,
    `value["any-key"]`, `if`, tests, `~` and a short list of filters are allowed; loops, calls and arithmetic are not.
    All templates have 65,536 characters at most."""

    include_keys: IncludeKeys = IncludeKeys.ALL
    """Whether the Secret also gets the secret value's own keys, in addition to `keys` and those of the template: All or
    None."""

    keys: Annotated[
        tuple[TargetKey, ...],
        Field(max_length=64),
        CelRule(
            "self.all(one, self.exists_one(other, (has(other.name) ? other.name : other.key) == "
            "(has(one.name) ? one.name : one.key)))",
            "two keys have one name in the Secret: write another name for one of them",
            lambda keys: len({each.name_in_secret for each in keys}) == len(keys),
        ),
    ] = ()
    """Keys of the secret value that the Secret gets, under other names where `name` says so: with `includeKeys: None`
    only these, with All these in place of the same keys under their own names. The secret value must have each."""

    creation_policy: CreationPolicy = CreationPolicy.OWNER
    """Owner creates the Secret and undoes changes by others. Merge writes its keys into a Secret that has another
    owner. None rotates and delivers nothing. A Secret that exists already is changed only if it has the annotation
    `rotatedsecrets.io/adopt` with the name of this resource."""

    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """Whether the Secret is deleted together with this resource (Delete) or stays (Retain)."""

    @property
    def kubernetes_type(self) -> str:
        """The type as Kubernetes names it."""
        return SHORT_TYPES.get(self.type, self.type)

    @property
    def named_keys(self) -> frozenset[str]:
        """Keys of the Secret that this resource itself names."""
        return frozenset([*self.template, *(each.name_in_secret for each in self.keys)])

    @property
    def is_delivered(self) -> bool:
        return self.creation_policy is not CreationPolicy.NONE
