"""The rooms that follow from the tables of one configuration: rewriting, resolving, recipient checks.

`worker` makes one at start and one at each reload; nothing here keeps state that a reload must carry over.
"""

from __future__ import annotations

from fastrelay.config import Config, section
from fastrelay.config.interfaces import receiving_interfaces
from fastrelay.master import proxymap
from fastrelay.master.mappings import Mappings
from fastrelay.master.table_opener import Log, TableOpener, opener_of_checks
from fastrelay.master.table_surroundings import PROXYMAP, PROXYWRITE, table_surroundings
from fastrelay.rewrite.address import Rewriter
from fastrelay.rewrite.recipients import RecipientCheck, RecipientMaps
from fastrelay.rewrite.resolve import ResolveLookups, Resolver
from fastrelay.rewrite.settings import ResolveSettings, RewriteSettings
from fastrelay.tables import AddressMatcher, DomainMatcher, Maps, StringMatcher
from fastrelay.tables.options import Options

REMEMBERED = 4096  # resolutions


def own_addresses(config: Config) -> frozenset[str]:
    """inet_interfaces and proxy_interfaces: what an MX record or a literal names when it names us."""
    words = [config.text(name).replace(",", " ").split() for name in ("inet_interfaces", "inet_protocols")]
    found = {str(interface.ip) for interface in receiving_interfaces(words[0], words[1])}
    return frozenset(found | set(config.text("proxy_interfaces").replace(",", " ").split()))


class Routing:
    """`error` and `warning` are the mail log's, for tables that cannot be opened and servers that fail."""

    def __init__(self, config: Config, error: Log, warning: Log) -> None:
        self._config = config
        around = table_surroundings(
            config,
            lambda text: warning(b"tables", text.encode("utf-8", "replace")),
            PROXYMAP if proxymap.is_wanted(config) else "",
            PROXYWRITE,
        )
        self.own_addresses = own_addresses(config)
        self.open = TableOpener(b"smtpd", error, warning, Options(around=around))
        self.open_check = opener_of_checks(error, warning, around)
        self.rewriter = Rewriter(section(RewriteSettings, config))
        settings = section(ResolveSettings, config)
        parents = set(settings.parent_domain_matches_subdomains)
        relay_domains = DomainMatcher(config.text("relay_domains"), "relay_domains" in parents, self.open)
        lists = [
            self._names(n) for n in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains")
        ]
        lookups = ResolveLookups(
            mydestination=lists[0],
            virtual_alias_domains=lists[1],
            virtual_mailbox_domains=lists[2],
            relay_domains=relay_domains,
            transport_maps=self.maps("transport_maps"),
            relocated_maps=self.maps("relocated_maps"),
            sender_dependent_relayhost_maps=self.maps("sender_dependent_relayhost_maps"),
            sender_dependent_default_transport_maps=self.maps("sender_dependent_default_transport_maps"),
            own_addresses=self.own_addresses,
        )
        self.resolver = Resolver(settings, lookups, REMEMBERED)
        self.recipients = RecipientCheck(
            settings,
            self.resolver,
            RecipientMaps(
                rewriting=(
                    self.maps("recipient_canonical_maps"),
                    self.maps("canonical_maps"),
                    self.maps("virtual_alias_maps"),
                ),
                local_recipient_maps=self.maps("local_recipient_maps"),
                virtual_mailbox_maps=self.maps("virtual_mailbox_maps"),
                relay_recipient_maps=self.maps("relay_recipient_maps"),
            ),
        )

        self.mappings = Mappings(config, self.resolver.is_local, self.maps, self._names)
        self.envelope = self.mappings.envelope()
        self.duplicate_filter_limit = int(str(config.value("duplicate_filter_limit")))

    def networks(self, text: str) -> AddressMatcher:
        parents = self._config.text("parent_domain_matches_subdomains")
        return AddressMatcher(text, self.open, "mynetworks" in parents)

    def maps(self, parameter: str) -> Maps:
        return Maps(self._config.text(parameter), self.open)

    def _names(self, parameter: str) -> StringMatcher:
        return StringMatcher(self._config.text(parameter), self.open)
