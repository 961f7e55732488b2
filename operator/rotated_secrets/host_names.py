"""One way to write a host, so that the same host is the same text for every engine. Pure; resolves no name."""

from __future__ import annotations

from ipaddress import ip_address


def host_name(text: str) -> str:
    """Return a host in lower case, and an address in its shortest form and without brackets.

    The dot that may end a DNS name is kept, because a resolver then adds no domain. What is no host stays none.
    """
    in_brackets = text.startswith("[") and text.endswith("]") and ":" in text  # as in a URL: RFC 3986, section 3.2.2
    try:
        return str(ip_address(text[1:-1] if in_brackets else text))
    except ValueError:
        return text.lower()
