"""The parameters of tables that are configured in main.cf: `ldap:src` reads src_server_host and its sisters.

For usage.py, so that they are not called unknown. The suffixes are those of ldap_table(5), mysql_table(5) and
the other manual pages, whether fastrelay's table reads them or not, and redis' own (docs/tables.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMON = "domain result_format expansion_limit"
_OLD_SQL = "query select_field table where_field additional_conditions list_query"
_TLS = "tls_cert_file tls_key_file tls_CAfile tls_CApath tls_ciphers tls_verify_cert"
SUFFIXES = {
    kind: frozenset(f"{_COMMON} {words}".split())
    for kind, words in {
        "ldap": "server_host server_port timeout search_base query_filter result_filter result_attribute"
        " special_result_attribute terminal_result_attribute leaf_result_attribute scope bind bind_dn bind_pw"
        " cache cache_expiry cache_size recursion_limit size_limit dereference chase_referrals version debuglevel"
        " sasl_mechs sasl_realm sasl_authz_id sasl_minssf start_tls tls_ca_cert_dir tls_ca_cert_file tls_cert"
        " tls_key tls_require_cert tls_random_file tls_cipher_suite",
        "memcache": "memcache backup flags ttl key_format data_size_limit line_size_limit max_try retry_pause"
        " timeout",
        "mysql": f"hosts user password dbname option_file option_group require_result_set {_OLD_SQL} {_TLS}",
        "pgsql": f"hosts user password dbname select_function {_OLD_SQL}",
        "redis": "redis key_format hash database user password tls tls_ca_cert_file timeout data_size_limit",
        "sqlite": f"dbpath {_OLD_SQL}",
    }.items()
}
_TABLE = re.compile(rf"(?<![\w./])({'|'.join(SUFFIXES)}):([A-Za-z0-9_]+)")


def table_parameters(value: str) -> Iterator[str]:
    """The names that the tables in a parameter's value give a meaning."""
    for table in _TABLE.finditer(value):
        yield from (f"{table[2]}_{suffix}" for suffix in SUFFIXES[table[1]])
