"""Which storage options are secret, and where a process keeps them.

Secrets are never written into a pickle. An unpickled connection finds them again by a token, in the same
process and in its forks, as long as one connection that holds them is alive. A child process that is being
spawned receives them through its own pipe, as do our worker processes when they start. Any other process, such as one
on another machine, relies on the provider's own credentials (environment variables, instance role, ...).
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from typing import Any

from shardpack.runtime.heritage import hand_down

# The options that may be written down. Any other is treated as a secret: new options of a library are unknown here.
_PUBLIC = frozenset((
    "account_name", "allow_http", "allow_invalid_certificates", "anon", "aws_allow_http", "azure_allow_http",
    "bucket", "connect_timeout", "connect_timeout_seconds", "container", "default_region", "endpoint", "endpoint_url",
    "google_allow_http", "host", "http1_only", "http2_only", "port", "project", "proxy_excludes", "proxy_url",
    "randomize_addresses", "read_timeout", "read_timeout_seconds", "region", "repo_type", "requester_pays", "revision",
    "skip_signature", "timeout", "unsigned_payload", "use_emulator", "user_agent", "username",
    "virtual_hosted_style_request",
))  # fmt: skip
_SHORTEST_SECRET = 4  # replacing shorter values would garble messages
_QUERY = re.compile(r"(\w+://[^\s?\"']+)\?[^\s\"']+")
_USER = re.compile(r"(\w+://)[^\s/@\"']+@")


class SecretOptions:
    """The secret options of one location, shared by every connection to it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def __repr__(self) -> str:
        return "SecretOptions(...)"


_by_token: weakref.WeakValueDictionary[str, SecretOptions] = weakref.WeakValueDictionary()
_inherited: list[SecretOptions] = []  # of a worker process: held as long as it lives


def is_secret(name: str, value: Any) -> bool:
    """Return whether an option must not be pickled or shown: unknown options, and addresses with a user in them."""
    return name not in _PUBLIC or "@" in str(value)


def find_secrets(token: str, options: Mapping[str, Any] | None = None) -> SecretOptions | None:
    """Return the secrets that this process holds under a token, or None.

    Args:
        token: A random name; it reveals nothing.
        options: The secrets, if the caller has them: held from now on, as long as the result is alive.
    """
    secrets = _by_token.get(token)
    if secrets is None and options is not None:
        secrets = _by_token.setdefault(token, SecretOptions(options))
        hand_down(_inherit, _held)
    return secrets


def _held() -> list[tuple[str, Mapping[str, Any]]]:
    """Return (token, secrets) of each location that this process holds secrets of."""
    return [(token, secrets.options) for token, secrets in list(_by_token.items())]


def _inherit(held: tuple[str, Mapping[str, Any]]) -> None:
    """Hold the secrets of a location for the parent's tasks. Runs in a worker process, when it starts."""
    secrets = find_secrets(*held)
    if secrets is not None:
        _inherited.append(secrets)


def redact(text: str, secret_options: Mapping[str, Any]) -> str:
    """Return a message without the values of these options, and without queries and users of URLs."""
    for value in sorted(_strings(secret_options), key=len, reverse=True):  # a value may contain another one
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return _USER.sub(r"\1***@", _QUERY.sub(r"\1?***", text))


def _strings(value: Any) -> list[str]:
    """Return every string in a value, at any depth."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    return [value] if isinstance(value, str) else []
