"""The spec of a RotatedSecret: what users write. The docstrings are what ``kubectl explain`` shows.

Knows nothing of the store, the databases or the cluster.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from rotated_secrets.api.names import RESERVED_DOMAINS
from rotated_secrets.api.rules import Rule, WrittenModel, keys_match, text_matches, unchanged


class Strategy(StrEnum):
    """How the credential is replaced."""

    SINGLE_USER = "SingleUser"
    ALTERNATING_USERS = "AlternatingUsers"
    RANDOM_VALUE = "RandomValue"


class Rights(StrEnum):
    """What to do where base and clone user cannot do exactly the same things."""

    ENFORCE = "Enforce"
    REPORT = "Report"
    IGNORE = "Ignore"


class TlsMode(StrEnum):
    """How a connection is protected, weakest first; the names follow libpq's ``sslmode``."""

    DISABLE = "Disable"
    REQUIRE = "Require"
    VERIFY_CA = "VerifyCA"
    VERIFY_FULL = "VerifyFull"

    @property
    def strength(self) -> int:
        """Compares modes: the higher one asks for more."""
        return list(TlsMode).index(self)


class SecretType(StrEnum):
    """What kind of Secret is delivered. A ServiceAccount token is none of them, on purpose."""

    OPAQUE = "Opaque"
    BASIC_AUTH = "basic-auth"
    TLS = "tls"
    DOCKERCONFIGJSON = "dockerconfigjson"
    SSH_AUTH = "ssh-auth"


class IncludeKeys(StrEnum):
    """Whether the value's own keys go into the target Secret."""

    ALL = "All"
    NONE = "None"


class CreationPolicy(StrEnum):
    """Whose Secret the target is."""

    OWNER = "Owner"
    MERGE = "Merge"
    NONE = "None"


class DeletionPolicy(StrEnum):
    """What happens to the target Secret when the RotatedSecret goes."""

    DELETE = "Delete"
    RETAIN = "Retain"


_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_NAME = f"{_DNS_LABEL}([.]{_DNS_LABEL})*"
_STORE_NAME = "[A-Za-z0-9/_+=.@!-]+"
_ARN = f"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:{_STORE_NAME}-[A-Za-z0-9]{{6}}"
_QUALIFIED_NAME = f"({_DNS_NAME}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
_LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_RESERVED = "|".join(domain.replace(".", "[.]") for domain in RESERVED_DOMAINS)

# Names of secrets: CreateSecret's reference, with "!" for the names of secrets that other AWS services manage.
StoreSecretId = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    text_matches(
        f"{_STORE_NAME}|{_ARN}",
        "write the secret's name (letters, digits and /_+=.@-) or its full ARN with the six characters at its end",
    ),
]
KubernetesName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    text_matches(_DNS_NAME, "write the name of a Secret: lower case letters, digits, '-' and '.'"),
]
_unreserved_keys = Rule(
    f"self.all(key, !key.matches('^([-a-z0-9.]+[.])?({_RESERVED})/'))",
    f"the domains {', '.join(RESERVED_DOMAINS)} and their subdomains are reserved: use a domain of your own",
    lambda entries: not any(_is_reserved(key) for key in entries),
)
_qualified_keys = keys_match(
    _QUALIFIED_NAME, "write keys as NAME or DOMAIN/NAME, the name with at most 63 letters, digits, '-', '_' and '.'"
)


def _is_reserved(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    return bool(slash) and any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_DOMAINS)


class Source(WrittenModel):
    """Which secret in AWS Secrets Manager is rotated."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.region) || !self.secretId.startsWith('arn:') || self.secretId.contains(':' + self.region + ':')",
            "secretId is the ARN of a secret in another region: leave region out, or write the ARN's",
            lambda self: self.region is None or not self.is_arn or f":{self.region}:" in self.secret_id,
        ),
    )

    secret_id: Annotated[
        StoreSecretId, unchanged("secretId cannot be changed: create another RotatedSecret for another secret")
    ]
    """Name or full ARN of the secret in AWS Secrets Manager. Cannot be changed later. The operator's access policy
    decides which names a namespace may use; by default those that begin with "NAMESPACE/"."""

    region: (
        Annotated[
            str,
            Field(max_length=32),
            text_matches("[a-z]{2,4}(-[a-z]+)+-[0-9]+", "write the name of an AWS region, for example eu-west-1"),
        ]
        | None
    ) = None
    """AWS region of the secret. Default: the operator's own."""

    @property
    def is_arn(self) -> bool:
        return self.secret_id.startswith("arn:")


class Tls(WrittenModel):
    """How the operator's connections to the database are protected. They never fall back to plaintext."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.caSecretName) || !has(self.mode) || self.mode in ['VerifyFull', 'VerifyCA']",
            "a CA is checked only with mode VerifyFull or VerifyCA: write one of these, or leave caSecretName out",
            lambda self: self.ca_secret_name is None or self.mode in (None, TlsMode.VERIFY_FULL, TlsMode.VERIFY_CA),
        ),
    )

    mode: TlsMode | None = None
    """VerifyFull checks the server's certificate and host name, VerifyCA the certificate alone, Require encrypts
    without checking, Disable uses plaintext. Default: what the key "ssl" of the secret value says, else VerifyFull."""

    ca_secret_name: KubernetesName | None = None
    """Name of a Secret in this namespace whose key "ca.crt" holds the CA certificates to trust, as PEM.
    Default: those that the operator trusts."""


class Database(WrittenModel):
    """How the database is reached. Host, port and users come from the secret value."""

    tls: Tls = Tls()
    """Protection of the connections."""


class PasswordPolicy(WrittenModel):
    """What new passwords look like. A policy that no password can satisfy is refused before anything is changed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.excludePunctuation && self.excludeNumbers && self.excludeUppercase && self.excludeLowercase)",
            "every kind of character is excluded: allow punctuation, numbers, upper case or lower case letters",
            lambda self: (
                not (
                    self.exclude_punctuation
                    and self.exclude_numbers
                    and self.exclude_uppercase
                    and self.exclude_lowercase
                )
            ),
        ),
    )

    length: Annotated[int, Field(ge=8, le=128)] = 32
    """Number of characters, 8 to 128. The engine's own limit applies as well."""

    exclude_characters: Annotated[str, Field(max_length=128)] = ""
    """Characters that must not occur."""

    exclude_punctuation: bool = True
    """Leave out all punctuation except "_" and "-", so that the password needs no quoting anywhere."""

    exclude_numbers: bool = False
    """Leave out digits."""

    exclude_uppercase: bool = False
    """Leave out upper case letters."""

    exclude_lowercase: bool = False
    """Leave out lower case letters."""

    require_each_included_type: bool = True
    """Each kind of character that is not excluded occurs at least once."""


class Rotation(WrittenModel):
    """How and when the credential is replaced."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.strategy != 'RandomValue' || !has(self.adminSecretId)",
            "RandomValue changes no database: leave adminSecretId out",
            lambda self: self.strategy is not Strategy.RANDOM_VALUE or self.admin_secret_id is None,
        ),
        Rule(
            "self.strategy != 'RandomValue' || !has(self.verifyQueries) || size(self.verifyQueries) == 0",
            "RandomValue asks no database: leave verifyQueries out",
            lambda self: self.strategy is not Strategy.RANDOM_VALUE or not self.verify_queries,
        ),
    )

    strategy: Strategy
    """SingleUser changes the password of the one user; for a moment the old one fails before the new one arrives.
    AlternatingUsers changes between the user and a clone of it with the same rights, so that a delivered credential
    never fails; it needs an admin secret. RandomValue replaces a value that belongs to no database, an API key for
    instance."""

    schedule: (
        Annotated[
            str,
            Field(max_length=256),
            text_matches(
                "rate[(][1-9][0-9]{0,5} (minute|minutes|hour|hours|day|days)[)]|cron[(][^()]+[)]",
                "write rate(N hours), rate(N days) or cron(MINUTES HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK YEAR), "
                "for example cron(0 2 ? * SUN *), in UTC",
            ),
        ]
        | None
    ) = None
    """When to rotate, in AWS's grammar and in UTC: "rate(30 days)", or "cron(0 2 ? * SUN *)" with six fields. Not
    more often than the operator's minimum, by default every four hours. Default: on demand only, by the annotation
    rotatedsecrets.io/rotate."""

    rotate_immediately: bool = False
    """Rotate once when the resource is created. Changing the spec later never rotates by surprise."""

    suspend: bool = False
    """Start no rotation while this is true. The target Secret is kept up to date all the same."""

    admin_secret_id: StoreSecretId | None = None
    """Name or full ARN of the secret of a user that may create users and set passwords. Default: the key "masterarn"
    of the secret value. SingleUser without either lets the user change its own password."""

    clone_suffix: Annotated[
        str,
        Field(min_length=1, max_length=16),
        text_matches("[A-Za-z0-9_]+", "write letters, digits and '_'"),
        unchanged("cloneSuffix cannot be changed: the clone user with the present suffix exists already"),
    ] = "_clone"
    """AlternatingUsers: what is added to the base user's name to name its clone. Cannot be changed later, and must be
    one that the operator allows."""

    password: PasswordPolicy = PasswordPolicy()
    """What new passwords look like."""

    verify_queries: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...], Field(max_length=10)
    ] = ()
    """SELECT statements that must succeed with the new credential before it becomes current, and with the present one
    before anything is changed. They run read-only, and have five seconds together."""

    rights: Rights = Rights.ENFORCE
    """AlternatingUsers: what to do where base and clone user cannot do exactly the same things. Enforce repairs the
    clone, Report only tells, Ignore does not look."""


class Target(WrittenModel):
    """The Kubernetes Secret that follows the secret's current version."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.includeKeys != 'None' || self.creationPolicy == 'None' || "
            "(has(self.template) && size(self.template) > 0)",
            "includeKeys: None without a template would deliver an empty Secret: write a template, or includeKeys: All",
            lambda self: self.include_keys is not IncludeKeys.NONE or not self.is_delivered or len(self.template) > 0,
        ),
        Rule(
            "self.creationPolicy != 'None' || (!has(self.secretName) && !has(self.labels) && !has(self.annotations)"
            " && !has(self.template) && self.type == 'Opaque' && self.includeKeys == 'All')",
            "creationPolicy: None delivers no Secret: leave secretName, type, labels, annotations, template and "
            "includeKeys out",
            lambda self: (
                self.is_delivered
                or (
                    self.secret_name is None
                    and not (self.labels or self.annotations or self.template)
                    and self.type is SecretType.OPAQUE
                    and self.include_keys is IncludeKeys.ALL
                )
            ),
        ),
        Rule(
            "(has(self.secretName) ? self.secretName : '') == (has(oldSelf.secretName) ? oldSelf.secretName : '') && "
            "(self.creationPolicy != 'None' || oldSelf.creationPolicy == 'None')",
            "the Secret that was written would stay behind, with a credential that stops working: leave secretName and "
            "creationPolicy as they are, or create another RotatedSecret",
        ),
        Rule(
            "self.creationPolicy != 'Merge' || self.type == 'Opaque'",
            "with creationPolicy: Merge the type is that of the existing Secret: leave type out",
            lambda self: self.creation_policy is not CreationPolicy.MERGE or self.type is SecretType.OPAQUE,
        ),
        Rule(
            "self.creationPolicy != 'Merge' || self.deletionPolicy == 'Retain'",
            "with creationPolicy: Merge the Secret belongs to someone else and stays: write deletionPolicy: Retain",
            lambda self: (
                self.creation_policy is not CreationPolicy.MERGE or self.deletion_policy is DeletionPolicy.RETAIN
            ),
        ),
    )

    secret_name: KubernetesName | None = None
    """Name of the Secret, in the namespace of this resource. Default: the name of this resource. Cannot be changed
    later."""

    type: SecretType = SecretType.OPAQUE
    """Type of the Secret. Kubernetes wants certain keys for each: basic-auth "username" or "password", tls "tls.crt"
    and "tls.key", dockerconfigjson ".dockerconfigjson", ssh-auth "ssh-privatekey". A Secret's type cannot be changed:
    delete the Secret, and it is written anew."""

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
        _unreserved_keys,
        _qualified_keys,
    ] = Field(default_factory=dict)
    """Labels for the Secret, beside the operator's own."""

    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32), _unreserved_keys, _qualified_keys
    ] = Field(default_factory=dict)
    """Annotations for the Secret, beside the operator's own."""

    template: Annotated[
        dict[str, Annotated[str, Field(max_length=65536)]],
        Field(max_length=64),
        keys_match("[-._a-zA-Z0-9]{1,253}", "write template keys with letters, digits, '-', '_' and '.'"),
    ] = Field(default_factory=dict)
    """Keys to add to the Secret, each with a Jinja2 template over the secret value's keys, for example
    "postgresql://{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}:{{ port }}/{{ dbname }}". Names,
    "if", tests, "~" and a short list of filters are allowed; loops, calls and arithmetic are not."""

    include_keys: IncludeKeys = IncludeKeys.ALL
    """Whether the secret value's own keys go in beside the template: All or None."""

    creation_policy: CreationPolicy = CreationPolicy.OWNER
    """Owner creates the Secret and keeps it exactly so. Merge writes its keys into a Secret that someone else owns.
    None rotates and delivers nothing. A Secret that exists already is touched only if it carries the annotation
    rotatedsecrets.io/adopt with the name of this resource."""

    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """Whether the Secret goes with this resource (Delete) or stays (Retain)."""

    @property
    def is_delivered(self) -> bool:
        return self.creation_policy is not CreationPolicy.NONE


class RotatedSecretSpec(WrittenModel):
    """What is rotated, how, and where it is delivered."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.rotation.strategy != 'RandomValue' || !has(self.database)",
            "RandomValue reaches no database: leave database out",
            lambda self: self.rotation.strategy is not Strategy.RANDOM_VALUE or self.database is None,
        ),
    )

    source: Source
    """Which secret in AWS Secrets Manager is rotated."""

    database: Database | None = None
    """How the database is reached. Host, port and users come from the secret value."""

    rotation: Rotation
    """How and when the credential is replaced."""

    target: Target = Target()
    """The Kubernetes Secret that follows the secret's current version."""
