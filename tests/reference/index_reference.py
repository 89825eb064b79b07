"""The slow obvious twin of queue/_index.pyx: a dict, sorted whenever it is looked through."""

from typing import Any


class Index(dict[int, Any]):
    def __iter__(self):
        return iter(sorted(super().__iter__()))

    def values(self):
        return [self[key] for key in self]

    def pop(self, key, default=None):
        return super().pop(key, default)
