"""Typed errors: every message names the thing, the reason and the remedy."""

from typing import Any


class AtsError(ValueError):
    """Base of every error raised on bad input: `thing: reason. remedy`."""

    def __init__(self, thing: str, reason: str, remedy: str) -> None:
        super().__init__(f"{thing}: {reason}. {remedy}")
        self.thing, self.reason, self.remedy = thing, reason, remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.thing, self.reason, self.remedy)


class ProposalError(AtsError):
    """A proposal is not a distribution over cells: negative, NaN, or not summing to one."""


class DrawError(AtsError):
    """A draw that cannot be made, or that does not fit what it is used with."""


class GeometryError(AtsError):
    """Sizes that do not fit together: images, views, cells, patches."""


class RecipeError(AtsError):
    """A recipe or option that names something unknown or impossible."""


class DivergedError(AtsError):
    """A training whose loss is no number any more."""


class BundleError(AtsError):
    """A saved model that cannot be read back."""
