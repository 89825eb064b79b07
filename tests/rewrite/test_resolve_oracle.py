"""The rewriter and the resolver beside Debian's trivial-rewrite(8), address by address."""

import os
import shutil

import pytest
from postfix_oracle import CLASSES, FLAG_ERROR, FLAG_ROUTED, TrivialRewrite
from rewrite_parts import make_resolver, resolve_settings

from fastrelay.rewrite._address import Address, parse_path
from fastrelay.rewrite.address import Rewriter

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("postfix"),
    reason="asks a private Postfix, which only root can start",
)

LISTS = {
    "myhostname": "host.example",
    "mydomain": "example",
    "myorigin": "origin.example",
    "mydestination": "local.example, host.example",
    "relay_domains": "relay.example, routed.example, multi.relayed.example",
    "virtual_alias_domains": "alias.example",
    "virtual_mailbox_domains": "box.example",
    "recipient_delimiter": "+",
}
TRANSPORT = (
    "user@routed.example=smtp:[per-user.example]:26 routed.example=smtp:[192.0.2.9]:25 "
    ".routed.example=:inner "
    "noop.example=: only.example=slow: refused.example=error: gone.example={error:5.1.2 no such host} "
    "later.example=retry:4.3.2 wait alias.example=smtp:never box.example=lmtp:unix:private/lmtp "
    ".example.net=smtp:wild sub.parent.org=smtp:exact ext@ext.example=smtp:stripped "
    "local.example=:hop held@local.example=hold:"
)
CONFIGURATIONS = {
    "plain": {},
    "transport": {"transport_maps": "inline:{" + TRANSPORT.replace("retry:4.3.2 wait", "retry:x") + "}"},
    "wildcard": {"transport_maps": "inline:{*=smtp:[all.example] host.example=local: keep.example=:}"},
    "relayhost": {
        "relayhost": "[gateway.example]:587",
        "append_dot_mydomain": "yes",
        "relay_transport": "smtp:[in.example]",
    },
    "no notations": {"swap_bangpath": "no", "allow_percent_hack": "no", "append_at_myorigin": "no"},
    "quotes closed": {"resolve_dequoted_address": "no"},
    "parents": {
        "parent_domain_matches_subdomains": "relay_domains, transport_maps",
        "transport_maps": "inline:{parent.org=smtp:p}",
    },
}
DOMAINS = [
    *(
        "local.example",
        "relay.example",
        "sub.relay.example",
        "outside.example",
        "alias.example",
        "box.example",
    ),
    *(
        "routed.example",
        "sub.routed.example",
        "noop.example",
        "only.example",
        "refused.example",
        "gone.example",
    ),
    *("later.example", "a.b.example.net", "example.net", "sub.parent.org", "x.sub.parent.org", "parent.org"),
    *(
        "keep.example",
        "ext.example",
        "[127.0.0.1]",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        "UPPER.Example",
        "bare",
    ),
]
ADDRESSES = [
    *(f"user@{domain}" for domain in DOMAINS),
    *("user", "USER@Local.Example", "user+ext@routed.example", "ext+more@ext.example", "held@local.example"),
    *(
        "user%outside.example@local.example",
        "user%relay.example",
        "user%a%b@local.example",
        "outside.example!user",
    ),
    *(
        "a.example!b.example!user",
        "a.example!user%b.example",
        "user%outside.example@relay.example",
        "a!u@outside.example",
    ),
    *('"user@outside.example"', '"user@outside.example"@local.example', '"user@relay.example"@relay.example'),
    *(
        '"user%outside.example"@local.example',
        '"a b"@local.example',
        '"a b"@outside.example',
        '"a b"',
        '"a b%c.example"@local.example',
    ),
    *(
        "outside.example!user@local.example",
        '"outside.example!us er"@local.example',
        "user%local.example@local.example",
    ),
    *(
        "user%outside.example@[127.0.0.1]",
        "user%@local.example",
        "!user@local.example",
    ),
    *("user%bare@local.example", "bare!user", "user%not..valid@local.example", "user%1.2.3.4@local.example"),
    *(
        '"user%[192.0.2.1]"@local.example',
        "user%outside.example.@local.example",
        '".dot"@outside.example',
        "user@relay.example.",
    ),
    *(
        "postmaster",
        "a!b@local.example",
        "a%b!c@local.example",
    ),
]
KEEPS_OBJECTS = "resolvers and their caches serve all tests of the module"


@pytest.fixture(scope="module")
def oracle():
    with TrivialRewrite() as postfix:
        yield postfix


@pytest.fixture(params=CONFIGURATIONS)
def configured(request, oracle):
    main = LISTS | CONFIGURATIONS[request.param]
    oracle.configure(main)
    ours = {name: value == "yes" if value in ("yes", "no") else value for name, value in main.items()}
    parents = main.get("parent_domain_matches_subdomains", "relay_domains")
    ours["parent_domain_matches_subdomains"] = tuple(parents.split(", "))
    ours["local_transport"] = f"local:{main['myhostname']}"
    ours["own_addresses"] = ("127.0.0.1",)
    return oracle, Rewriter(resolve_settings(**ours)), make_resolver(**ours)


def test_resolves_as_postfix(configured):
    oracle, rewriter, resolver = configured
    differences = []
    for text in ADDRESSES:
        address = parse_path(b"<" + text.encode() + b">")
        assert isinstance(address, Address), text
        theirs = ask_postfix(oracle, address)
        ours = describe(resolver.examine(rewriter.envelope(address)))
        if ours != theirs and not (theirs == "INVALID" and ours[0] == "INVALID"):
            differences.append(f"{text}: postfix {theirs}, ours {ours}")
    assert not differences, "\n".join(differences)


def ask_postfix(oracle, address):
    """As cleanup and qmgr do: the internal form is quoted and rewritten, the result resolved."""
    quoted = Address(*address.internal.rpartition(b"@")[::2]) if b"@" in address.internal else address
    answer = oracle.resolve(to_internal(oracle.rewrite(quoted.external)))
    flags = int(answer[b"flags"])
    if flags & FLAG_ERROR:
        return "INVALID"
    routed = bool(flags & FLAG_ROUTED)
    return CLASSES[flags & 0x1F00], answer[b"transport"], answer[b"nexthop"], answer[b"recipient"], routed


def describe(found):
    route = found.route
    return found.address_class.name, route.transport, route.next_hop, found.address.internal, found.routed


def to_internal(external: bytes) -> bytes:
    local, at, domain = external.rpartition(b"@")
    if local.startswith(b'"'):
        local = local[1:-1].replace(b'\\"', b'"')
    elif not at and domain.startswith(b'"'):
        return domain[1:-1]
    return local + at + domain
