"""Names of AWS regions. Must not know clients."""

from __future__ import annotations


def plain_region(name: str) -> str:
    """Return the region that a name means: SDKs also know ``us-east-1-fips`` and ``fips-us-east-1``, and no ARN does.

    Source: ``_normalize_fips_region`` of botocore, which then uses FIPS endpoints.
    """
    return name.removeprefix("fips-").removesuffix("-fips")
