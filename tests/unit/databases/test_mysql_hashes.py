"""Which stored hash is of which password. The hashes are MySQL 9.7's, of throw-away users."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.mysql.hashes import is_of, native
from rotated_secrets.values import SecretText

HASHES = {
    "x": [
        "24412430304124444655694C536A20416962706A0A26721E2E057D647767506B5777464C344C6F526A4D343852"
        "644F6838343856526868777968544E75626758493049322E36",
        "243524230F282D42176D7E7B4B5A5B4E0B29420112474224594C43436E523567527079474A6230446756415A4F"
        "4C455579437266587845414A56323571544F76347435",
    ],
    "Kanarienvögel €": [
        "2441243030412468120E125102072936270C311A437121237E3F7C432E756464444A4E69462F6E664C37345562"
        "4E6A7A4B4F4365677A3577592F647349325867566F78636944",
        "24352416726F1766767A3A15705D2E25015A71063162132433344B49454C705644472F49436E4F6C6B72695738"
        "557542312F4A337755716F376256445037576E487841",
    ],
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": [
        "2441243030412429235D7B1C3D6A1A680A755F0A533905400E4632474C454E7838416B755149714C2F704F682F"
        "584852746D34564941307738486B342F43336C434A6E41572E",
        "243524663E74254C2B45093269360E521F6A6207236D2D247A3163516D51796B32363245772F6A376534596144"
        "454E72715658306D41533639344F3379464C49466942",
    ],
}


@pytest.mark.parametrize(("password", "stored"), [(password, one) for password, all_ in HASHES.items() for one in all_])
def test_a_hash_is_of_its_password_alone(password: str, stored: str) -> None:
    assert is_of(bytes.fromhex(stored), SecretText(password)) is True
    assert is_of(bytes.fromhex(stored), SecretText(password + "x")) is False


def test_a_native_hash_is_of_its_password_alone() -> None:
    """The manual's example of PASSWORD('mypass')."""
    stored = b"*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"
    assert native(b"mypass") == stored
    assert is_of(stored, SecretText("mypass")) is True
    assert is_of(stored, SecretText("other")) is False


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"*6C89",
        b"$A$005$short",
        b"$5$short$x",
        b"$A$FFF$" + b"s" * 20 + b"h" * 43,
        b"invalid",
        b"THIS_IS_A_COMBINATION",
    ],
)
def test_of_what_is_not_known_or_takes_too_long_nothing_is_said(stored: bytes) -> None:
    assert is_of(stored, SecretText("mypass")) is None
