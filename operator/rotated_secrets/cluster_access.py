"""Loads the address of the API server, the credentials for it, and its proxy. Makes no request."""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.rest import should_bypass_proxies


class NoCluster(Exception):
    """No kubeconfig and no ServiceAccount name the API server, or its proxy cannot be used."""


def is_of_this_pod(kubeconfig: Path | None) -> bool:
    """Whether the cluster to work with is the one that this process runs in, as its ServiceAccount."""
    return kubeconfig is None and not os.environ.get("KUBECONFIG") and "KUBERNETES_SERVICE_HOST" in os.environ


def configuration(kubeconfig: Path | None, context: str | None) -> client.Configuration:
    """Load the address of the API server and our credentials for it.

    Raises:
        NoCluster: neither a kubeconfig file nor the pod's ServiceAccount has them, or the proxy cannot be used.
    """
    found = client.Configuration()
    try:
        if is_of_this_pod(kubeconfig):
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
            found.proxy = None  # its own API server is reached directly; a proxy in the environment is for AWS
        else:
            path = str(kubeconfig) if kubeconfig else None
            config.load_kube_config(path, context, found)  # type: ignore[no-untyped-call]
            if found.proxy and "://" not in found.proxy:  # as curl and AWS's SDK take it
                found.proxy = f"http://{found.proxy}"
    except (config.ConfigException, yaml.YAMLError, OSError, AttributeError, KeyError, TypeError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise NoCluster(f"{why}; set --kubeconfig, or run in a pod with a ServiceAccount") from None
    _log_in_at_proxy(found)
    return found


def _log_in_at_proxy(found: client.Configuration) -> None:
    """Send what the proxy's URL has of a login, which the client leaves out. Raises: NoCluster."""
    if (proxy := proxy_of(found)) is None:
        return
    with contextlib.suppress(urllib3.exceptions.LocationParseError):
        url = urllib3.util.parse_url(proxy)
        if url.scheme in ("http", "https") and url.host:
            login = base64.b64encode(unquote(url.auth or "").encode()).decode()
            found.proxy_headers = {"Proxy-Authorization": f"Basic {login}"} if login else None
            return
    raise NoCluster(
        f"the proxy for {found.host} is no URL that can be used: in HTTPS_PROXY, or in the kubeconfig's proxy-url, "
        f"write http://HOST:PORT (SOCKS is not supported), or add {urlsplit(found.host).hostname} to NO_PROXY"
    )


def proxy_of(found: client.Configuration) -> str | None:
    """The proxy by which the API server is asked, unless NO_PROXY names that server. Its URL may hold a password."""
    return found.proxy if found.proxy and not should_bypass_proxies(found.host, found.no_proxy or "") else None
