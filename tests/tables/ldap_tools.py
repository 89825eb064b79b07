"""What the tests of ldap: tables share: a directory's contents, and tables' parameter files."""

PEOPLE = "ou=people,dc=test"


def entry(dn, *lines):
    kind = "device" if PEOPLE not in dn else "person"
    name = dn.split(",")[0].removeprefix("cn=")
    more = ["sn: x"] if kind == "person" else []
    return "\n".join(
        [f"dn: {dn}", f"objectClass: {kind}", "objectClass: mailThing", f"cn: {name}", *more, *lines, ""]
    )


LDIF = "\n".join(
    [
        "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n",
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n",
        entry(
            f"cn=ann,{PEOPLE}",
            "mailacceptinggeneralid: ann@example.com",
            "mailacceptinggeneralid: ann",
            "maildrop: ann@mail.example.com",
            "maildrop: ann2@mail.example.com",
            "mail: ann@real.example",
        ),
        entry(
            f"cn=bob,{PEOPLE}",
            "mailacceptinggeneralid: bob@example.com",
            "maildrop: plainbob",
            "mail: bob@real.example",
        ),
        entry(
            f"cn=odd,{PEOPLE}",
            "mailacceptinggeneralid: o(dd)*\\x@example.com",
            "mailacceptinggeneralid: é@example.com",
            "maildrop: odd@mail.example.com",
        ),
        f"dn: cn=o\\2Cd \\22d\\2B,{PEOPLE}\nobjectClass: person\nobjectClass: mailThing\n"
        'cn: o,d "d+\nsn: x\nmaildrop: comma\n',
        entry(f"cn=nodrop,{PEOPLE}", "mailacceptinggeneralid: nodrop@example.com"),
        entry(
            f"cn=parts,{PEOPLE}",
            "mailacceptinggeneralid: parts@example.com",
            "maildrop: @onlydomain.example",
            "maildrop: user@",
        ),
        entry(
            f"cn=num,{PEOPLE}",
            "mailacceptinggeneralid: num@example.com",
            "maildrop: 12345",
            "maildrop: TRUE",
            "blob:: /wD+",
            "mail: x@y.example",
        ),
        entry(
            "cn=team,dc=test",
            "mailacceptinggeneralid: team@example.com",
            f"memberdn: cn=ann,{PEOPLE}",
            f"memberdn: cn=bob,{PEOPLE}",
            f"memberdn: cn=gone,{PEOPLE}",
            "maildrop: team-own@example.com",
            "mail: team@mail.example",
        ),
        entry(
            "cn=urls,dc=test",
            "mailacceptinggeneralid: urls@example.com",
            f"memberurl: ldap:///{PEOPLE}?maildrop?sub?(cn=a*)",
            f"memberurl: ldap:///{PEOPLE}??one?(cn=b*)",
            f"memberurl: ldap:///{PEOPLE}?description?one?(cn=b*)",
        ),
        entry("cn=badurl,dc=test", "mailacceptinggeneralid: badurl@example.com", "memberurl: not a dn"),
        entry("cn=loop,dc=test", "mailacceptinggeneralid: loop@example.com", "memberdn: cn=loop,dc=test"),
        entry("cn=nested,dc=test", "mailacceptinggeneralid: nested@example.com", "memberdn: cn=team,dc=test"),
    ]
)
ADMIN = {"bind": "yes", "bind_dn": "cn=admin,dc=test"}


def table_file(directory, number, server, **settings):
    """A parameter file; its path is the table's name."""
    base = {"server_host": server.url, "search_base": "dc=test", "bind": "no", **settings}
    path = directory / f"{number}.cf"
    path.write_text("".join(f"{k} = {v.replace('{port}', str(server.port))}\n" for k, v in base.items()))
    return f"ldap:{path}"
