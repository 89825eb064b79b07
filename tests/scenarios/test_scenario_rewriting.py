"""Envelope rewriting, the same configuration and mail through Debian's Postfix and through fastrelay.

Each line of the tables below is one message; what is compared is in support/rewriting_lab.py.
"""

import pytest

from support.rewriting_lab import Setup, case, compare

COMMON = {
    "mydestination": "local.test",
    "recipient_delimiter": "+-",
    "myorigin": "origin.test",
    "local_recipient_maps": "",
    "local_transport": "smtp:SINK",
    "virtual_alias_domains": "alias.test",
    "relay_domains": "relay.test",
}
CANONICAL = Setup(
    "canonical",
    COMMON
    | {
        "canonical_maps": "inline:{a1@t.test=a2@t.test, a2@t.test=a3@t.test, l1@t.test=l2@t.test,"
        " l2@t.test=l1@t.test, {m@t.test=x@t.test, y@t.test}, self@t.test=self@t.test, c@t.test=C@T.test,"
        " @old.test=@new.test, @w.test=who@w2.test, ext@t.test=tgt@t.test, extd@t.test=@u.test,"
        ' null@t.test=<>, bad@t.test=(none), loc=loc2, {quoted@t.test="a b"@t.test}},'
        " texthash:$config_directory/quoted",
        "sender_canonical_maps": "inline:{s@t.test=sender@t.test, both@t.test=by-sender@t.test}",
        "recipient_canonical_maps": "inline:{r@t.test=rcpt@t.test, both@t.test=by-rcpt@t.test,"
        " by-rcpt@t.test=a1@t.test}",
        "virtual_alias_domains": "",
    },
    {"quoted": '"two words"@t.test one@t.test, two@t.test\n"no words"@t.test (none)\n'},
    (
        case("x@c.test", "a1@t.test"),
        case("x@c.test", "A1@T.TEST"),
        case("x@c.test", "l1@t.test"),
        case("x@c.test", "m@t.test"),
        case("x@c.test", "self@t.test"),
        case("x@c.test", "c@t.test"),
        case("x@c.test", "u+e@old.test"),
        case("x@c.test", "u+e@w.test"),
        case("x@c.test", "ext+e@t.test"),
        case("x@c.test", "ext-e+f@t.test"),
        case("x@c.test", "extd+e@t.test"),
        case("x@c.test", "null@t.test"),
        case("x@c.test", "bad@t.test"),
        case("x@c.test", "loc@local.test"),
        case("x@c.test", "loc+x@origin.test"),
        case("x@c.test", "loc"),
        case("x@c.test", "loc@t.test"),
        case("x@c.test", "quoted@t.test"),
        case("x@c.test", "r@t.test", "both@t.test", "s@t.test"),
        case("a1@t.test", "z@t.test"),
        case("s@t.test", "z@t.test"),
        case("both@t.test", "z@t.test"),
        case("r@t.test", "z@t.test"),
        case("u+e@old.test", "z@t.test"),
        case("null@t.test", "z@t.test"),
        case("bad@t.test", "z@t.test"),
        case("l1@t.test", "z@t.test"),
        case("MAILER-DAEMON@origin.test", "z@t.test"),
        case("mailer-daemon", "z@t.test"),
        case("mailer-daemon@other.test", "z@t.test"),
        case("loc", "z@t.test"),
        case("", "a1@t.test", "a3@t.test", "a1@t.test"),
        case('"two words"@t.test', '"two words"@t.test'),
        case('"no words"@t.test', '"no words"@t.test'),
    ),
)
VIRTUAL = Setup(
    "virtual",
    COMMON
    | {
        "virtual_alias_maps": "texthash:$config_directory/virtual",
        "virtual_alias_expansion_limit": "20",
        "virtual_alias_recursion_limit": "10",
    },
    {
        "virtual": """\
v1@t.test v2@t.test, v3@t.test
v2@t.test v4@t.test v5@t.test
loop1@t.test loop2@t.test
loop2@t.test loop1@t.test
bomb@t.test bomb2@t.test bomb3@t.test
bomb2@t.test bomb3@t.test bomb@t.test
bomb3@t.test bomb@t.test bomb2@t.test
self@t.test self@t.test, other@t.test
dup1@t.test d@t.test
dup2@t.test D@t.test
"""
        + "".join(f"n{i}@t.test n{i + 1}@t.test\n" for i in range(12))
        + f"long@t.test {'x' * 1001}@t.test\n"
        + f"full@t.test {','.join(f'f{i}@t.test' for i in range(20))}\n"
        + f"over@t.test {','.join(f'o{i}@t.test' for i in range(21))}\n"
        + """\
known@alias.test there@t.test
@dom.test all@t.test
@moved.test @new.test
ext@t.test tgt@t.test
"q q"@t.test quoted@t.test
postmaster root@t.test
user@relay.test elsewhere@t.test
none@t.test ,
group@t.test Name <g1@t.test>, list: g2@t.test, g3;
""",
    },
    (
        case("x@c.test", "v1@t.test"),
        case("x@c.test", "v2@t.test", "v5@t.test"),
        case("x@c.test", "loop1@t.test"),
        case("x@c.test", "bomb@t.test"),
        case("x@c.test", "self@t.test"),
        case("x@c.test", "self+e@t.test"),
        case("x@c.test", "dup1@t.test", "dup2@t.test", "DUP1@t.test", "d@t.test"),
        case("x@c.test", "n0@t.test"),
        case("x@c.test", "n2@t.test"),
        case("x@c.test", "n3@t.test"),
        case("x@c.test", "long@t.test"),
        case("x@c.test", "full@t.test"),
        case("x@c.test", "over@t.test"),
        case("x@c.test", "known@alias.test"),
        case("x@c.test", "known+x@alias.test"),
        case("x@c.test", "unknown@alias.test"),
        case("x@c.test", "unknown@alias.test", "known@alias.test"),
        case("x@c.test", "a+b@dom.test"),
        case("x@c.test", "a+b@moved.test"),
        case("x@c.test", "ext+e@t.test"),
        case("x@c.test", "ext@t.test NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@t.test"),
        case("x@c.test", "ext@t.test NOTIFY=SUCCESS"),
        case("x@c.test", "ext@t.test NOTIFY=NEVER", "ext@t.test"),
        case("x@c.test", '"q q"@t.test'),
        case("x@c.test", "postmaster@local.test"),
        case("x@c.test", "postmaster"),
        case("x@c.test", "postmaster@t.test"),
        case("x@c.test", "user@relay.test"),
        case("x@c.test", "none@t.test"),
        case("x@c.test", "group@t.test"),
        case("v1@t.test", "z@t.test"),
    ),
)
ROUTES = Setup(
    "routes",
    COMMON
    | {
        "relayhost": "SINK",
        "relocated_maps": "inline:{gone@t.test=new@x.test, {u=elsewhere, far away}, @moved.test=@m.test,"
        ' {q@t.test="a b"@x.test}}, texthash:$config_directory/relocated, regexp:{{/^s s@t/ unquoted}}',
        "sender_dependent_relayhost_maps": "inline:{{a@s.test=ELSEWHERE}, dunno@s.test=DUNNO, @dom.test=ELSEWHERE,"
        " <>=ELSEWHERE, b@s.test=ELSEWHERE, loc=ELSEWHERE}",
        "sender_dependent_default_transport_maps": "inline:{{a2@s.test=discard:}, d2@s.test=dunno, b@s.test=smtp,"
        " {err@s.test=error:no way}, nul@s.test=smtp:, {ret@s.test=retry:4.2.0 later}, {er2@s.test=error:5.7.1 no},"
        " {re2@s.test=retry:later}}",
        "virtual_alias_maps": "inline:{{alias@t.test=gone@t.test z@t.test}}",
        "transport_maps": "inline:{tm@t.test=discard:, gone@t.test=discard:, u@alias.test=discard:},"
        " texthash:$config_directory/transport, regexp:{{/^v v@t/ discard:}}",
    },
    {"relocated": '"r r"@t.test quoted\n', "transport": '"t t"@t.test discard:\n'},
    (
        case("a@s.test", "z@t.test"),
        case("A+x@S.test", "z@t.test"),
        case("dunno@s.test", "z@t.test"),
        case("q@dom.test", "z@t.test"),
        case("", "z@t.test"),
        case("a@s.test", "z@relay.test"),
        case("a2@s.test", "z@relay.test"),
        case("a2@s.test", "z@t.test"),
        case("d2@s.test", "z@t.test"),
        case("b@s.test", "z@t.test"),
        case("err@s.test", "z@t.test"),
        case("er2@s.test", "z@t.test"),
        case("ret@s.test", "z@t.test"),
        case("re2@s.test", "z@t.test"),
        case("nul@s.test", "z@t.test"),
        case("loc@origin.test", "z@t.test"),
        case("loc", "z@t.test"),
        case("x@s.test", "tm@t.test", '"t t"@t.test', '"v v"@t.test', "tm+e@t.test"),
        case("x@s.test", "gone@t.test"),
        case("x@s.test", "gone+y@t.test"),
        case("x@s.test", "u@local.test"),
        case("x@s.test", "u@alias.test"),
        case("x@s.test", "z@moved.test"),
        case("x@s.test", "q@t.test"),
        case("x@s.test", '"r r"@t.test'),
        case("x@s.test", '"s s"@t.test'),
        case("x@s.test", "u@[127.0.0.1]"),
        case("x@s.test", "alias@t.test"),
    ),
)


COPIES = Setup(
    "copies",
    COMMON
    | {
        "always_bcc": "all",
        "sender_bcc_maps": "inline:{boss@t.test=sb@t.test, @mas.test=sb2@t.test, {two@t.test=x@t.test, y@t.test}}",
        "recipient_bcc_maps": "inline:{r@t.test=rb@t.test, v@t.test=rb2@t.test, rb@t.test=never@t.test,"
        " u=local-rb, w@t.test=to@alias.test}",
        "virtual_alias_maps": "inline:{v@t.test=w@t.test, to@alias.test=there@t.test, rb2@t.test=rb3@t.test}",
        "canonical_maps": "inline:{rb3@t.test=not-asked@t.test, c@t.test=boss@t.test, all@origin.test=every@t.test}",
        "masquerade_domains": "keep.mas.test !Inner.mas.test MAS.test",
        "masquerade_exceptions": "root, Inline",
        "masquerade_classes": "envelope_sender, envelope_recipient, header_sender, header_recipient",
        "propagate_unmatched_extensions": "canonical",
        "enable_original_recipient": "no",
    },
    {},
    (
        case("x@c.test", "z@t.test"),
        case("x@c.test", "r@t.test", "z@t.test"),
        case("x@c.test", "r+e@t.test"),
        case("x@c.test", "v@t.test"),
        case("x@c.test", "v+e@t.test"),
        case("x@c.test", "w@t.test"),
        case("x@c.test", "u@local.test"),
        case("x@c.test", "v@t.test", "w@t.test", "W@t.test"),
        case("x@c.test", "every@t.test"),
        case("boss@t.test", "z@t.test"),
        case("BOSS+e@T.test", "z@t.test"),
        case("c@t.test", "z@t.test"),
        case("two@t.test", "z@t.test"),
        case("", "z@t.test"),
        case("x@a.mas.test", "z@b.c.mas.test"),
        case("root@a.mas.test", "ROOT@a.mas.test", "inline@a.mas.test"),
        case("x@host.inner.mas.test", "z@inner.mas.test"),
        case("x@host.keep.mas.test", "z@keep.mas.test"),
        case("x@mas.test", "z@notmas.test"),
        case('"a b"@h.mas.test', '"c d"@h.mas.test'),
        case("x@c.test", "z@t.test NOTIFY=NEVER ORCPT=rfc822;o@t.test", "z@t.test NOTIFY=FAILURE"),
    ),
)
GENERIC = Setup(
    "generic",
    COMMON
    | {
        "smtp_generic_maps": "inline:{a@t.test=b@t.test, b@t.test=c@t.test, {m@t.test=x@t.test, y@t.test},"
        ' @d.test=@e.test, null@t.test=<>, loc=bare, {q@t.test="q q"@t.test}}, texthash:$config_directory/generic',
        "propagate_unmatched_extensions": "generic",
        "alias_maps": "texthash:$config_directory/aliases",
        "virtual_alias_maps": "inline:{v@t.test=w@t.test}",
        "canonical_maps": "inline:{s@c.test=t@c.test}",
        "canonical_classes": "envelope_sender, envelope_recipient",
        "local_transport": "local:$myhostname",
        "home_mailbox": "Maildir/",
    },
    {
        "generic": '"p p"@t.test plain@t.test\n',
        "aliases": """\
list u1@t.test, u2@t.test
owner-list boss@t.test
plain v@t.test
""",
    },
    (
        case("a@t.test", "m@t.test"),
        case("b+x@t.test", "a+z@t.test"),
        case("zz@t.test", "u+x@d.test", "a@t.test"),
        case("null@t.test", "null@t.test"),
        case("loc", "loc@origin.test"),
        case("q@t.test", '"p p"@t.test'),
        case("", "a@t.test NOTIFY=DELAY ORCPT=rfc822;o@t.test"),
        case("s@c.test", "list@local.test"),
        case("s@c.test", "list+x@local.test NOTIFY=NEVER"),
        case("", "list@local.test"),
        case("s@c.test", "plain@local.test"),
        case("s@c.test", "plain@local.test NOTIFY=FAILURE,DELAY ORCPT=rfc822;o@t.test"),
        case("s@c.test", "owner-list@local.test"),
        case("v@t.test", "missing.user@local.test"),
    ),
)


@pytest.mark.parametrize("setup", [CANONICAL, VIRTUAL, ROUTES, COPIES, GENERIC], ids=lambda setup: setup.name)
def test_same_as_postfix(setup):
    different = compare(setup)
    assert not different, "\n".join(different)
