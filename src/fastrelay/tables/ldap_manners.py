"""How to reach and talk to an LDAP table's servers: server_host and what else of its parameters says that.

For tables/ldap.py, which reads the rest, and for its sessions. sasl_mechs may be EXTERNAL or PLAIN: the
others need a call of python-ldap that holds the interpreter's lock while it waits.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fastrelay.tables.query import Source, SourceProblem
from fastrelay.tables.remote import reason_of
from fastrelay.tables.stream import Endpoint, parse_host_port
from fastrelay.tables.text import SyntaxProblem, split_list

PORTS = {"ldap": "389", "ldaps": "636"}
BINDS = {"yes": "simple", "simple": "simple", "no": "no", "none": "no", "sasl": "sasl"}
SASL_MECHANISMS = ("EXTERNAL", "PLAIN")


@dataclass(frozen=True, slots=True)
class Server:
    endpoint: Endpoint
    secure: bool  # ldaps:


@dataclass(frozen=True, slots=True)
class Manners:
    """How to talk to any of a table's servers. `bind`: "no", "simple" or "sasl"."""

    servers: tuple[Server, ...]
    timeout: float
    version: int
    bind: str
    bind_dn: str
    bind_pw: str
    sasl_mechanism: str
    sasl_authz_id: str
    dereference: int
    chase_referrals: bool
    start_tls: bool
    tls: ssl.SSLContext | None


def parse_server(word: str, port: str) -> Server:
    """One word of server_host: a URL, or a host with or without its port; SyntaxProblem."""
    if "://" not in word:
        has_port = word.endswith("]") is False and word.rpartition("]")[2].count(":") == 1
        return Server(parse_host_port(word if has_port else f"{word}:{port}"), False)
    url = urlsplit(word)
    if url.scheme == "ldapi" and url.netloc:
        return Server(Endpoint(path=unquote(url.netloc)), False)
    if url.scheme not in PORTS or not url.netloc:
        raise SyntaxProblem(f"Unable to init LDAP server {word}")
    place = url.netloc if url.netloc.rpartition("]")[2].count(":") else f"{url.netloc}:{PORTS[url.scheme]}"
    return Server(parse_host_port(place), url.scheme == "ldaps")


def read_manners(source: Source, warnings: list[str]) -> Manners:
    """How to reach the servers; SourceProblem."""
    port = source.number("server_port", 389)
    words = split_list(source.text("server_host", "localhost"))
    bind = source.text("bind", "yes").lower()
    if bind not in BINDS:
        raise SourceProblem(f"{source.name}: unsupported parameter value: bind = {bind}")
    mechanism = (split_list(source.text("sasl_mechs")) or [""])[0].upper()
    if BINDS[bind] == "sasl" and mechanism not in SASL_MECHANISMS:
        known = " or ".join(SASL_MECHANISMS)
        raise SourceProblem(
            f"{source.name}: unsupported parameter value: sasl_mechs = {mechanism}; use {known}"
        )
    try:
        servers = tuple([parse_server(word, str(port)) for word in words])
    except SyntaxProblem as error:
        raise SourceProblem(f"{source.name}: {error}") from error
    start_tls = source.flag("start_tls", False)
    return Manners(
        servers=servers,
        timeout=source.number("timeout", 10, 1),
        version=choice(source, "version", "3", {"2": 2, "3": 3}, warnings),
        bind=BINDS[bind],
        bind_dn=source.text("bind_dn"),
        bind_pw=source.text("bind_pw"),
        sasl_mechanism=mechanism,
        sasl_authz_id=source.text("sasl_authz_id"),
        dereference=choice(source, "dereference", "0", {str(n): n for n in range(4)}, warnings),
        chase_referrals=source.flag("chase_referrals", False),
        start_tls=start_tls,
        tls=_tls(source) if start_tls or any(server.secure for server in servers) else None,
    )


def _tls(source: Source) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = source.flag("tls_require_cert", False)
    context.verify_mode = ssl.CERT_REQUIRED if context.check_hostname else ssl.CERT_NONE
    file, directory = source.text("tls_ca_cert_file"), source.text("tls_ca_cert_dir")
    certificate, key = source.text("tls_cert"), source.text("tls_key")
    try:
        if file or directory:
            context.load_verify_locations(file or None, directory or None)
        if certificate:
            context.load_cert_chain(certificate, key or None)
        if source.text("tls_cipher_suite"):
            context.set_ciphers(source.text("tls_cipher_suite"))
    except (OSError, ssl.SSLError) as error:
        raise SourceProblem(f"{source.name}: TLS parameters: {reason_of(error)}") from error
    return context


def choice(source: Source, name: str, default: str, values: dict[str, int], warnings: list[str]) -> int:
    """A wrong value is a warning and the default, as in Postfix."""
    word = source.text(name, default)
    if word not in values:
        warnings.append(f"{source.name}: Unrecognized value {word} specified for {name}; using {default}")
        word = default
    return values[word]
