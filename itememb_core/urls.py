"""URLs that name secrets: ``${NAME}`` stands for a variable's value and is all that is shown.

What does not belong here: the environment, which is an argument, and opening anything.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from itememb_core.errors import UsageError

_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_SECRET: Final = re.compile(
    r"key|token|secret|pass|pwd|sig|credential|auth", re.IGNORECASE
)  # in the name of a query's parameter
_PARAMETER: Final = re.compile(r"(?<=[?&;#])([^=?&;#]*)=([^?&;#]*)")
_HIDDEN: Final = "***"
#: Shorter values are no secrets, and occur in many words.
_SHORTEST: Final = 4
#: What file systems that do not say ``username`` and ``password`` call them.
_LOGINS: Final = {
    "s3": ("key", "secret"),
    "s3a": ("key", "secret"),
    "webhdfs": ("user", "password"),
}
#: Take the login as a part of the URL.
_IN_URL: Final = ("http", "https")


@dataclass(frozen=True)
class Opened:
    """A URL as a file system takes it.

    Attributes:
        url: Without ``${NAME}``, and without a login that is passed as options.
        protocol: That the options are for.
        options: The login, by the names that the file system gives it.
    """

    url: str
    protocol: str
    options: Mapping[str, str]


def check_url(what: str, url: str) -> str:
    """Return a URL that holds no secret itself.

    Raises:
        UsageError: It does; the message says how to name one instead, and does not show it.
    """
    if _blanked(url) != url:
        raise UsageError(
            f"{what}: {_blanked(url)} holds a secret, which would be stored and shown; put it into "
            "an environment variable and write '${NAME}' in its place"
        )
    return url


def expanded(url: str, environment: Mapping[str, str]) -> str:
    """Return a text with the values of the variables that it names.

    Raises:
        UsageError: One is not set; it is named.
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if not environment.get(name):
            raise UsageError(f"{url}: the environment variable {name or '(no name)'} is not set")
        return environment[name]

    if "${" in _VARIABLE.sub("", url):
        raise UsageError(f"{url}: '${{' without '}}', expected '${{NAME}}'")
    return _VARIABLE.sub(value, url)


def opened(url: str, environment: Mapping[str, str]) -> Opened:
    """Return a URL as a file system takes it; logins may hold any characters.

    Raises:
        UsageError: A variable that it names is not set.
    """
    whole = expanded(url, environment)
    if "://" not in url:  # a folder, or a variable that holds the whole URL
        url, environment = whole, {}
    *outer, last = url.split("::")
    protocol, login, rest = _parts(last)
    if login is None:
        return Opened(whole, protocol, {})
    user, _, password = login.partition(":")
    values = expanded(user, environment), expanded(password, environment)
    rest = expanded(rest, environment)
    if protocol in _IN_URL:
        quoted = ":".join(quote(value, safe="") for value in values)
        return Opened("::".join([*outer, f"{protocol}://{quoted}@{rest}"]), protocol, {})
    names = _LOGINS.get(protocol, ("username", "password"))
    options = {name: value for name, value in zip(names, values, strict=True) if value}
    return Opened("::".join([*outer, f"{protocol}://{rest}"]), protocol, options)


def hidden(text: str, url: str, environment: Mapping[str, str]) -> str:
    """Return a text in which the values of a URL's variables stand as ``${NAME}``.

    They are found as they are, as in a URL and as in JSON.
    """
    spelled: dict[str, str] = {}
    for name in _VARIABLE.findall(url):
        value = environment.get(name, "")
        if len(value) >= _SHORTEST:
            forms = (value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1])
            spelled |= dict.fromkeys(forms, f"${{{name}}}")
    for value in sorted(spelled, key=len, reverse=True):
        text = text.replace(value, spelled[value])
    return text


def _parts(url: str) -> tuple[str, str | None, str]:
    """Protocol, ``user:password`` (None: there is none) and the rest of a URL."""
    protocol, sign, rest = url.partition("://")
    if not sign:
        return "", None, url
    authority = re.split("[?#]", rest, maxsplit=1)[0]
    host = authority.partition("/")[0]
    # A password may hold a slash, as Amazon's do; a port is a number.
    at = host.rfind("@") if "@" in host else authority.rfind("@")
    if at < 0 or ":" not in host[:at] or host.partition(":")[2].isdecimal():
        return protocol, None, rest
    return protocol, rest[:at], rest[at + 1 :]


def _blanked(url: str) -> str:
    """The URL with ``***`` for each secret that is spelled out."""
    return "::".join(map(_blanked_link, url.split("::")))


def _blanked_link(link: str) -> str:
    protocol, login, _ = _parts(link)
    if login is not None and _VARIABLE.sub("", login.partition(":")[2]):
        user = login.partition(":")[0]
        link = link.replace(f"{login}@", f"{user}:{_HIDDEN}@", 1)
    return _PARAMETER.sub(_blanked_parameter, link) if protocol else link


def _blanked_parameter(found: re.Match[str]) -> str:
    name, value = found.groups()
    literal = _SECRET.search(name) and _VARIABLE.sub("", value)
    return f"{name}={_HIDDEN}" if literal else found.group()
