"""The content of the target Secret, and what a template must never do."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.api.target import Target
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.delivery.render import MAX_SECRET, MOST_KEYS, bytes_of, check_template, render
from rotated_secrets.delivery.template import FILTERS
from rotated_secrets.values import SecretValue
from tests.support.examples import examples

CANARY = "cAnArY-4711"
VALUE = {
    "engine": "postgres",
    "host": "db.example.org",
    "port": 5432,
    "username": "orders",
    "password": f"{CANARY}/@:#",
    "ssl": False,
    "dbname": None,
    "tags": {"team": "a"},
}


def _target(**fields: Any) -> Target:
    return Target.model_validate(fields)


def _value(**changes: Any) -> SecretValue:
    return SecretValue.parse(json.dumps(VALUE | changes))


def _texts(target: Target, value: SecretValue) -> dict[str, str]:
    return {key: text.reveal() for key, text in render(target, value).items()}


def _one(source: str, value: SecretValue | None = None) -> str:
    return _texts(_target(template={"OUT": source}, includeKeys="None"), value or _value())["OUT"]


def _failure(source: str, value: SecretValue | None = None) -> str:
    with pytest.raises(TemplateFailed) as caught:
        _one(source, value)
    message = str(caught.value)
    assert CANARY not in message
    assert "OUT" in message
    cause: BaseException | None = caught.value
    while cause is not None and not cause.__suppress_context__:
        cause = cause.__cause__ or cause.__context__
        assert CANARY not in repr(cause)
    return message


def test_strings_are_delivered_unchanged_and_other_values_as_json() -> None:
    assert _texts(_target(), _value()) == {
        "engine": "postgres",
        "host": "db.example.org",
        "port": "5432",
        "username": "orders",
        "password": f"{CANARY}/@:#",
        "ssl": "false",
        "dbname": "null",
        "tags": '{"team": "a"}',
    }


@pytest.mark.parametrize("number", ["1.10", "1e400", "123456789012345678.25", "-0", "1E5", "9" * 5000])
def test_number_is_delivered_as_it_is_written(number: str) -> None:
    value = SecretValue.parse(f'{{"n": {number}, "more": {{"list":[{number}]}}}}')
    target = _target(template={"OUT": "{{ n }} {{ n | tojson }} {{ n ~ '' }} {{ n is number }} {{ more | tojson }}"})
    nested = f'{{"list": [{number}]}}'
    assert _texts(target, value) == {"n": number, "more": nested, "OUT": f"{number} {number} {number} true {nested}"}


def test_value_that_begins_with_a_byte_order_mark_is_delivered_by_its_keys() -> None:
    assert _texts(_target(), SecretValue.parse('\ufeff{"a": "b"}')) == {"a": "b"}


def test_rendered_content_prints_as_stars() -> None:
    assert CANARY not in repr(render(_target(), _value()))


def test_a_value_that_is_no_object_has_one_key() -> None:
    target = _target(template={"HEADER": "Bearer {{ value }}"})
    assert _texts(target, SecretValue.parse("token-1")) == {"value": "token-1", "HEADER": "Bearer token-1"}
    assert _texts(_target(), SecretValue.parse("[1, 2]")) == {"value": "[1, 2]"}


def test_templates_keys_win_over_the_values() -> None:
    assert _texts(_target(template={"host": "proxy"}), _value())["host"] == "proxy"


def test_without_own_keys_only_the_template_is_delivered() -> None:
    assert _texts(_target(template={"A": "a"}, includeKeys="None"), _value()) == {"A": "a"}


def test_password_with_any_character_can_be_in_a_url() -> None:
    url = _one("postgresql://{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}:{{ port }}/x")
    assert url == f"postgresql://orders:{CANARY}%2F%40%3A%23@db.example.org:5432/x"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ host ~ ':' ~ port }}", "db.example.org:5432"),
        ("{% if ssl %}require{% else %}disable{% endif %}", "disable"),
        ("{% if engine == 'mysql' %}m{% elif engine in 'postgresql' %}p{% endif %}", "p"),
        ("{{ 'yes' if dbname is none else 'no' }}", "yes"),
        ("{{ schema | default('public') }}", "public"),
        ("{{ schema if schema is defined else 'none' }}", "none"),
        ("{{ ssl }} {{ dbname }} {{ tags }} {{ 7 }}", 'false null {"team": "a"} 7'),
        ("{{ username | upper | lower | trim | b64encode }}", "b3JkZXJz"),
        ("{{ password | tojson }} {{ port | tojson }}", f'"{CANARY}/@:#" 5432'),
        ("{{ engine | replace('postgres', 'postgresql') }}", "postgresql"),
        ("{% raw %}{{ not }}{% endraw %}{# said #}\n", "{{ not }}\n"),
        ("<{{ '<&>' }}>", "<<&>>"),
    ],
)
def test_allowed_templates_render(source: str, text: str) -> None:
    check_template(_target(template={"OUT": source}))
    assert _one(source) == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for a in host %}{{ a }}{% endfor %}", "a loop is not allowed"),
        ("{{ range(10) }}", "a call is not allowed"),
        ("{{ host.__class__ }}", "an attribute (a.b) is not allowed"),
        ("{{ host.x }}", 'write a["b"] for a key inside another one, and value["a.b"] for a key with a dot'),
        ("{{ tls.crt }}", 'value["a.b"]'),
        ("{{ api-key }}", 'arithmetic is not allowed: write value["a-b"] for a key with a hyphen'),
        ("{{ a/b }}", 'arithmetic is not allowed: write value["a/b"] for a key with a slash'),
        ("{{ 2fa }}", 'value["KEY"]'),
        ("{{ host[username] }}", "a subscript other than a text or a number"),
        ("{{ value[username] }}", "a subscript other than a text or a number"),
        ("{{ value['a' ~ 'b'] }}", "a subscript other than"),
        ("{{ host[1:2] }}", "a subscript other than"),
        ("{{ host[true] }}", "a subscript other than"),
        ("{{ nodes[-1] }}", "a subscript other than"),
        ("{{ nodes[1.5] }}", "a subscript other than"),
        ("{{ value['__class__'].mro() }}", "a call"),
        ("{{ 'a' * 1000000000 }}", "arithmetic is not allowed"),
        ("{{ 9 ** 9999999 }}", "arithmetic"),
        ("{{ -port }}", "arithmetic"),
        ("{{ 'a' * 10**9 }}", "arithmetic"),
        ("{{ ('a' ~ 'a') * 1000000000 }}", "arithmetic"),
        ("{{ host | format(1) }}", "the filter 'format'"),
        ("{{ '%1000000000d' | format(port) }}", "the filter 'format'"),
        ("{{ host | indent(1000000000) }}", "the filter 'indent'"),
        ("{{ host | map('upper') | list }}", "the filter 'list'"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "a call"),
        ("{{ host | attr('__class__') | attr('__init__') }}", "the filter 'attr'"),
        ("{{ self.__init__.__globals__ }}", "an attribute"),
        ("{{ self }}", "the name self is not allowed"),
        ("{{ 'x' if self else 'y' }}", "the name self is not allowed"),
        ("{{ cycler.__init__.__globals__.os }}", "an attribute"),
        ("{{ namespace(a=1) }}", "a call"),
        ("{{ joiner(',') }}", "a call"),
        ("{% call self() %}{% endcall %}", "callblock is not allowed"),
        ("{% with a = host %}{{ a }}{% endwith %}", "with is not allowed"),
        ("{{ host % 1 }}", "arithmetic"),
        ("{% set a = host %}", "{% set %} is not allowed"),
        ("{% macro a() %}{% endmacro %}", "a macro"),
        ("{% include '/etc/passwd' %}", "an include"),
        ("{% import 'a' as b %}", "an import"),
        ("{% extends 'a' %}", "extends is not allowed"),
        ("{% block a %}{% endblock %}", "block is not allowed"),
        ("{% filter upper %}a{% endfilter %}", "not allowed"),
        ("{{ [host] }}", "a list"),
        ("{{ {'a': host} }}", "a dictionary"),
        ("{{ host | attr('x') }}", "the filter 'attr' is not allowed; use one of: b64decode"),
        ("{{ host | center(1000000000) }}", "the filter 'center'"),
        ("{{ host | ~ }}", "line 1"),
        ("{{ host | replace('a') }}", "takes 2 arguments"),
        ("{{ host | default(*tags) }}", "the filter 'default'"),
        ("{{ host is divisibleby(3) }}", "the test 'divisibleby'"),
        ("{{ port > 1 }}", "comparisons other than"),
        ("{{ host", "line 1"),
        ("{% autoescape true %}{% endautoescape %}", "scope is not allowed"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "OUT"),
        ("{{ " + "not " * 100 + "host }}", "deeper than 40"),
        ("{% if host %}" * 200 + "{% endif %}" * 200, "deeper than 40"),
        ("{% if host %}" + "{% elif host %}" * 4000 + "{% endif %}", "more than 1000 parts"),
        ("{{ host }}" * 2000, "more than 1000 parts"),
        ("{{ " + "1" * 5000 + " }}", "a number that is too long"),
        ("x" * 65537, "longer than 64 KiB"),
    ],
)
def test_forbidden_templates_are_refused_without_the_value(source: str, said: str) -> None:
    target = Target.model_construct(template={"OUT": source})
    with pytest.raises(TemplateFailed) as caught:
        check_template(target)
    assert said in str(caught.value)
    assert "OUT" in str(caught.value)


ODD = {
    "api-key": "k",
    "tls.crt": "c",
    "a/b": "s",
    "2fa": "two",
    "": "nothing",
    "ä ö": "umlauts",
    "value": {"value": "inner", "tls.crt": "hidden"},
    "tags": {"team": {"name": "a"}, "list": [{"host": "h0"}, ["x", 1.10]], "none": None},
    "__class__": "a key",
    "self": "itself",
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ value['api-key'] }}{{ value['tls.crt'] }}{{ value['a/b'] }}{{ value['2fa'] }}", "kcstwo"),
        ("{{ value[''] }} {{ value['ä ö'] | upper }}", "nothing UMLAUTS"),
        ("{{ value['value']['value'] }} {{ value }}", 'inner {"value": "inner", "tls.crt": "hidden"}'),
        ("{{ tags['team']['name'] }} {{ value['tags']['team'] }}", 'a {"name": "a"}'),
        ("{{ tags['list'][0]['host'] }} {{ tags['list'][1][1] }} {{ tags['list'][1] | tojson }}", 'h0 1.1 ["x", 1.1]'),
        ("{{ value['nowhere'] | default('x') }} {{ tags['a']['b'] | default('y') }}", "x y"),
        ("{{ value['api-key'] is defined }} {{ tags[7] is defined }}", "true false"),
        ("{{ tags['list'][1] is defined }} {{ tags['list'][2] is defined }}", "true false"),
        ("{{ tags['none'] is none }} {{ value['api-key'] == 'k' }} {{ 'c' in value['tls.crt'] }}", "true true true"),
        ("{{ value['__class__'] ~ value['self'] }}", "a keyitself"),
        ("{% if value['tags']['team'] %}t{% endif %}", "t"),
    ],
)
def test_any_key_can_be_named(source: str, text: str) -> None:
    check_template(_target(template={"OUT": source}))
    assert _one(source, SecretValue.parse(json.dumps(ODD))) == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ value['nowhere'] }}", """'value["nowhere"]' is undefined; the value has: port, password"""),
        ("{{ tags['a']['b'] }}", """'tags["a"]' is undefined"""),
        ("{{ tags[0] }}", "'tags[0]' is undefined"),
        ("{{ tags['list']['0'] }}", """'tags["list"]["0"]' is undefined"""),
        ("{{ password['upper'] }}", """'password["upper"]' is undefined"""),
        ("{{ password[0] }}", "'password[0]' is undefined"),
        ("{{ port['real'] }}", """'port["real"]' is undefined"""),
        ("{{ tags['__class__'] }}", """'tags["__class__"]' is undefined"""),
        ("{{ tags['keys'] }}", """'tags["keys"]' is undefined"""),
        ("{{ missing['a'] }}", "'missing' is undefined"),
        ("{{ (password | upper)['a'] }}", """'…["a"]' is undefined"""),
        ("{{ value['" + "k" * 5000 + "'] }}", "k" * 60),
    ],
)
def test_key_that_is_not_there_is_named_without_the_value(source: str, said: str) -> None:
    value = {"password": CANARY, "port": 5, "tags": {"list": [CANARY]}}
    message = _failure(source, SecretValue.parse(json.dumps(value)))
    assert said in message
    assert len(message) < 300


def test_a_value_that_is_no_object_has_no_other_key() -> None:
    assert _one("{{ value['value'] }}", SecretValue.parse("token-1")) == "token-1"
    assert """'value["a"]' is undefined""" in _failure("{{ value['a'] }}", SecretValue.parse("token-1"))


BINARY = bytes(range(256))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ("{{ text | b64decode }}", "pä".encode()),
        ("{{ text | b64decode | upper }}", "PÄ".encode()),
        ("{{ lines | b64decode }}", b"abc"),
        ("{{ keystore | b64decode }}", BINARY),
        ("<{{ value['keystore'] | b64decode }}>", b"<" + BINARY + b">"),
        ("{{ keystore | b64decode | b64encode }}", _base64(BINARY).encode()),
        ("{{ nothing | b64decode }}", b""),
        ("{{ missing | default('aGk=') | b64decode }}", b"hi"),
    ],
)
def test_base64_is_decoded_to_text_or_to_the_bytes_as_they_are(source: str, content: bytes) -> None:
    value = {"text": _base64("pä".encode()), "lines": "YW\n Jj\n", "keystore": _base64(BINARY), "nothing": ""}
    assert bytes_of(_one(source, SecretValue.parse(json.dumps(value)))) == content


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ password | b64decode }}", "was given text that is not base64"),
        ("{{ host | b64decode }}", "was given text that is not base64"),
        ("{{ ssl | b64decode }}", "was given text that is not base64"),
        ("{{ missing | b64decode }}", "'missing' is undefined"),
        ("{{ 'gA==' | b64decode | upper }}", "only b64encode can take them"),
        ("{{ 'gA==' | b64decode ~ 'a' }}", "only b64encode can take them"),
        ("{{ 'gA==' | b64decode | tojson }}", "only b64encode can take them"),
        ("{{ 'gA==' | b64decode | default('a') }}", "only b64encode can take them"),
        ("{{ 'gA==' | b64decode(1) }}", "takes 0 arguments"),
    ],
)
def test_what_cannot_be_decoded_or_is_no_text_is_said_without_the_value(source: str, said: str) -> None:
    assert said in _failure(source)


@pytest.mark.parametrize("content", [BINARY, b"text", b'{"password": "x"}', b""])
def test_binary_secret_is_delivered_as_it_is(content: bytes) -> None:
    value = SecretValue.of_bytes(content)
    target = _target(keys=[{"key": "value", "name": "file"}], template={"OUT": "{{ value | b64encode }}"})
    texts = {key: bytes_of(text) for key, text in _texts(target, value).items()}
    assert texts == {"file": content, "OUT": base64.b64encode(content)}


def test_character_that_stands_for_a_byte_is_no_byte_in_a_value() -> None:
    """`surrogateescape` would make one of it."""
    value = SecretValue.parse('{"password": "' + CANARY + '\\udc80"}')
    for target in (_target(), _target(template={"OUT": "{{ password }}"}, includeKeys="None")):
        with pytest.raises(TemplateFailed, match="half of a surrogate pair"):
            render(target, value)


@pytest.mark.parametrize(
    ("include", "keys", "texts"),
    [
        ("None", [{"key": "a"}], {"a": "1"}),
        ("None", [{"key": "a/b", "name": "tls.crt"}, {"key": "a/b", "name": "again"}], {"tls.crt": "2", "again": "2"}),
        ("All", [{"key": "a/b", "name": "b"}], {"a": "1", "c": "3", "b": "2"}),
        ("All", [{"key": "a", "name": "c"}, {"key": "a/b", "name": "b"}], {"c": "1", "b": "2"}),
        ("None", [{"key": "a", "name": "OUT"}], {"OUT": "1"}),
    ],
)
def test_keys_are_chosen_and_renamed(include: str, keys: list[dict[str, str]], texts: dict[str, str]) -> None:
    value = SecretValue.parse('{"a": "1", "a/b": "2", "c": 3}')
    assert _texts(_target(includeKeys=include, keys=keys), value) == texts


def test_template_wins_over_a_renamed_key_of_the_same_name() -> None:
    target = _target(includeKeys="None", keys=[{"key": "host", "name": "OUT"}], template={"OUT": "t"})
    assert _texts(target, _value()) == {"OUT": "t"}


def test_key_of_a_value_that_is_no_object_can_be_renamed() -> None:
    target = _target(includeKeys="None", keys=[{"key": "value", "name": "token"}])
    assert _texts(target, SecretValue.parse("token-1")) == {"token": "token-1"}


def test_key_that_the_value_lacks_is_named() -> None:
    target = _target(keys=[{"key": "nowhere"}])
    with pytest.raises(
        TemplateFailed, match=r"target\.keys names the key 'nowhere', and the secret value has: password"
    ):
        render(target, SecretValue.parse(json.dumps({"password": CANARY})))


@pytest.mark.parametrize(
    "name", ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "self", "_", "__builtins__"]
)
def test_templates_know_no_names_but_the_values_keys(name: str) -> None:
    _failure("{{ " + name + " }}")


def test_unknown_variable_is_named_with_the_known_ones() -> None:
    said = _failure("{{ user }}")
    assert (
        "'user' is undefined; the value has: engine, host, port, username, password, dbname, ssl, 1 other key" in said
    )


@pytest.mark.parametrize(
    "source", ["{{ password ~ nowhere }}", "{{ password in port }}", "{{ password | replace('', 'a') }}"]
)
def test_failures_never_hold_a_value(source: str) -> None:
    _failure(source)


def test_half_a_surrogate_pair_fails_without_being_shown() -> None:
    value = SecretValue.parse('{"password": "' + CANARY + '\\ud800"}')
    for target in (
        _target(),
        _target(template={"OUT": "{{ password }}"}),
        _target(template={"OUT": "{{ password | urlencode }}"}),
    ):
        with pytest.raises(TemplateFailed) as caught:
            render(target, value)
        assert CANARY not in str(caught.value)
        assert caught.value.__suppress_context__


def _nested(levels: int, text: str) -> Any:
    return {"a": _nested(levels - 1, text)} if levels else text


@pytest.mark.parametrize(
    "source",
    [
        "{{ a }}" * 400,
        "{{ a" + " ~ a" * 400 + " }}",
        "{{ a | b64encode" + " | b64encode" * 35 + " }}",
        "{{ quotes | tojson" + " | tojson" * 35 + " }}",
        "{{ a | replace('a', a) }}",
        "{{ value['a'] }}" * 200,
        "{{ encoded | b64decode ~ '' }}" * 150,
        "{{ value['deep']" + "['a']" * 8 + " }}" + "{{ value['deep'] }}" * 300,
        "{% if a | b64decode == a | b64decode %}x{% endif %}" * 90,
        "{% if a | upper ~ a | upper %}x{% endif %}" * 90,
    ],
)
def test_a_template_cannot_grow_beyond_what_a_secret_holds(source: str) -> None:
    value = SecretValue.parse(
        json.dumps(
            {"a": "a" * 60_000, "quotes": '"\\' * 2_000, "deep": _nested(8, "a" * 5_000), "encoded": "YWFh" * 15_000}
        )
    )
    tracemalloc.start()
    try:
        assert "1024 KiB" in _failure(source, value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MAX_SECRET


def test_size_of_the_whole_secret_is_limited() -> None:
    target = _target(template={f"K{number}": "{{ a }}" * 15 for number in range(2)})
    with pytest.raises(TemplateFailed, match="Kubernetes accepts 1048576 at most"):
        render(target, SecretValue.parse(json.dumps({"a": "ü" * 30_000})))


def test_all_keys_together_take_no_more_memory_than_one() -> None:
    """The API server accepts sixty-four of them in one resource, each a line long."""
    target = _target(template={f"K{number}": "{{ a }}" * 17 for number in range(64)}, includeKeys="None")
    value = SecretValue.parse(json.dumps({"a": "\U0001f511" * 15_000}))
    tracemalloc.start()
    try:
        with pytest.raises(TemplateFailed, match="Kubernetes accepts 1048576 at most"):
            render(target, value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MAX_SECRET


@pytest.mark.parametrize(
    ("own", "template", "include"),
    [(MOST_KEYS, {}, "All"), (MOST_KEYS - 1, {"OUT": "a"}, "All"), (5_000, {"A": "a"}, "None")],
)
def test_number_of_keys_is_limited(own: int, template: dict[str, str], include: str) -> None:
    target = _target(template=template, includeKeys=include)
    value = {f"key-{number}": "" for number in range(own)}
    assert len(_texts(target, SecretValue.parse(json.dumps(value)))) <= MOST_KEYS
    if include == "All":
        with pytest.raises(TemplateFailed, match=rf"{MOST_KEYS + 1} keys, {own + 1} of them of the secret value"):
            render(target, SecretValue.parse(json.dumps(value | {"one-more": ""})))


@pytest.mark.parametrize("key", ["a b", "", ".", "..", "a/b", "ä", "a\n", "k" * 254])
def test_a_key_that_kubernetes_refuses_is_named(key: str) -> None:
    with pytest.raises(TemplateFailed, match="cannot be a key of a Kubernetes Secret"):
        render(_target(), SecretValue.parse(json.dumps({key: "x"})))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"keys": [{"key": "password", "name": "..data"}]}, r"the name '\.\.data' in target\.keys cannot be a key"),
        ({"template": {".": ""}}, r"template key '\.' cannot be a key"),
    ],
)
def test_name_that_kubernetes_refuses_is_not_blamed_on_the_value(target: dict[str, Any], told: str) -> None:
    with pytest.raises(TemplateFailed, match=told) as failed:
        render(_target(**target), _value())
    assert str(failed.value).endswith("; write another name")


@pytest.mark.parametrize(
    ("kind", "template", "needs"),
    [
        ("basic-auth", {"a": ""}, "a key username or password"),
        ("tls", {"tls.crt": ""}, "the key tls.key"),
        ("dockerconfigjson", {".dockerconfigjson": "{"}, "holds JSON"),
        ("dockerconfigjson", {".dockerconfigjson": "[" * 60_000}, "holds JSON"),
        ("dockerconfigjson", {"a": "{}"}, "a key .dockerconfigjson"),
        ("ssh-auth", {"ssh-privatekey": ""}, "a key ssh-privatekey that is not empty"),
        ("kubernetes.io/tls", {"tls.crt": ""}, "of type kubernetes.io/tls needs the key tls.key"),
        ("kubernetes.io/dockercfg", {"a": "{}"}, "a key .dockercfg that holds JSON"),
    ],
)
def test_a_type_needs_its_keys(kind: str, template: dict[str, str], needs: str) -> None:
    with pytest.raises(TemplateFailed, match=needs):
        render(_target(type=kind, template=template, includeKeys="None"), _value())


@pytest.mark.parametrize("kind", ["example.org/anything", "helm.sh/release.v1", "Opaque"])
def test_a_type_that_is_not_kubernetes_own_needs_no_keys(kind: str) -> None:
    assert _texts(_target(type=kind, template={"a": ""}, includeKeys="None"), _value()) == {"a": ""}


def test_a_docker_config_can_be_written_by_template() -> None:
    source = '{"auths":{"{{ host }}":{"auth":"{{ (username ~ ":" ~ password) | b64encode }}"}}}'
    target = _target(type="dockerconfigjson", template={".dockerconfigjson": source}, includeKeys="None")
    assert "db.example.org" in json.loads(_texts(target, _value())[".dockerconfigjson"])["auths"]


_PIECES = [
    "{{ ",
    " }}",
    "a",
    "b",
    " | ",
    " ~ ",
    "{% if a %}",
    "{% else %}",
    "{% endif %}",
    "'x'",
    "(",
    ")",
    " == ",
    " is ",
    " not ",
]
_PIECES += [
    *FILTERS,
    "defined",
    "{% for x in a %}",
    "{% endfor %}",
    ".x",
    "[0]",
    "['a']",
    "value['a']",
    "*",
    "\n",
    '"',
    "{#",
    "#}",
]


@examples(300)
@given(
    st.lists(st.sampled_from(_PIECES), max_size=30).map("".join), st.text(max_size=50), st.integers() | st.booleans()
)
def test_any_template_either_renders_or_fails_in_one_way(source: str, text: str, other: object) -> None:
    value = SecretValue.parse(json.dumps({"a": text, "b": other}))
    try:
        first = _one(source, value)
    except TemplateFailed:
        return
    check_template(_target(template={"OUT": source}))
    assert len(first.encode()) <= MAX_SECRET
    assert _one(source, value) == first
