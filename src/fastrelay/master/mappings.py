"""The mappings of one configuration: canonical, masquerading, virtual aliases, copies; made by routing."""

from __future__ import annotations

from collections.abc import Callable

from fastrelay.config import Config, section
from fastrelay.rewrite.canonical import Masquerade, OneToOne, OneToOneParts
from fastrelay.rewrite.envelope import EnvelopeMapping, EnvelopeParts
from fastrelay.rewrite.lookup import AddressKeys, Matcher
from fastrelay.rewrite.mapping import NOT_ACCEPTED, AddressTable
from fastrelay.rewrite.settings import EnvelopeSettings, MappingSettings
from fastrelay.rewrite.virtual import ExpansionLimits, VirtualAliases
from fastrelay.tables import Maps, TableError


class Mappings:
    """`one_to_one` maps envelope and header addresses; `keys` is how addresses are looked up."""

    def __init__(
        self,
        config: Config,
        is_local: Callable[[bytes], bool],
        maps: Callable[[str], Maps],
        names: Callable[[str], Matcher],
    ) -> None:
        self._config = config
        self._maps = maps
        self._settings = section(MappingSettings, config)
        settings = self._settings
        self.keys = AddressKeys(
            settings.recipient_delimiter, settings.owner_request_special, settings.myorigin, is_local
        )
        self.one_to_one = OneToOne(
            OneToOneParts(
                self.table("sender_canonical_maps", "canonical"),
                lower(settings.sender_canonical_classes),
                self.table("recipient_canonical_maps", "canonical"),
                lower(settings.recipient_canonical_classes),
                self.table("canonical_maps", "canonical"),
                lower(settings.canonical_classes),
                Masquerade(settings.masquerade_domains, names("masquerade_exceptions"), TableError),
                lower(settings.masquerade_classes),
            )
        )

    def table(
        self, parameter: str, kind: str, maps: Maps | None = None, consequence: bytes = NOT_ACCEPTED
    ) -> AddressTable:
        """`kind` is the word in propagate_unmatched_extensions; `maps` are what a service has of its own."""
        propagate = kind in lower(self._settings.propagate_unmatched_extensions)
        maps = self._maps(parameter) if maps is None else maps
        return AddressTable(parameter, maps, self.keys, self._settings, propagate, TableError, consequence)

    def envelope(self) -> EnvelopeMapping:
        settings = self._settings
        limits = ExpansionLimits(
            settings.virtual_alias_expansion_limit,
            settings.virtual_alias_recursion_limit,
            settings.virtual_alias_address_length_limit,
        )
        parts = EnvelopeParts(
            self.one_to_one,
            VirtualAliases(self.table("virtual_alias_maps", "virtual"), limits),
            self._maps("sender_bcc_maps"),
            self._maps("recipient_bcc_maps"),
            self.keys,
            TableError,
        )
        return EnvelopeMapping(section(EnvelopeSettings, self._config), parts)


def lower(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)
