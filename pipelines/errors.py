"""Typed errors of the path from bucket to model, on the same template as `ats_core.errors`."""

from typing import Any

from ats_core.errors import AtsError


class ImageError(AtsError):
    """An image that cannot be read; `status` is the reason code that its catalog row carries."""

    def __init__(self, thing: str, reason: str, remedy: str, status: str = "unreadable") -> None:
        super().__init__(thing, reason, remedy)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.thing, self.reason, self.remedy, self.status)


class StorageError(AtsError):
    """A URI of a protocol that nothing here speaks."""


class CatalogError(AtsError):
    """A catalog, source or labels file that cannot be used."""
