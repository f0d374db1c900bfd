"""The tasks, and the models that are measured on them: the rows of the paper's Tables 1 and 2, and more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ats_core.recipes import ColonCancer, MegapixelMNIST, Recipe, SpeedLimits

CHUNK_PIXELS = 2**17
"""Of the patches in a pass of Deep MIL in chunks."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model at a task, with the paper's ms and MB where it has them."""

    method: str
    recipe: Recipe
    image_size: tuple[int, int]
    bfloat16: bool
    """Whether its networks compute in it, under autocast; else in float32."""
    paper_ms: float | None = None
    paper_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Images of one size, and which numbers of patches and which scales are measured on them."""

    name: str
    title: str
    recipe: Recipe
    image_size: tuple[int, int]
    drawn: tuple[int, ...]
    """Patches of attention sampling."""
    main: int
    """That of these which the claims are about."""
    uniform: tuple[int, ...]
    """Patches of uniform sampling."""
    scales: tuple[float, ...]
    """Of the CNN's view."""
    paper: Mapping[str, tuple[float, float]]
    """ms and MB by method."""
    bfloat16: bool = False

    def cases(self) -> Iterator[Case]:
        """All of them, in the order of the paper's tables."""
        for n in self.uniform:
            yield self._case(f"U-{n}", model="uniform", n_patches=n)
        for scale in self.scales:
            yield self.cnn(scale)
        yield self._case("Deep MIL", model="deep_mil")
        yield self._case("Deep MIL, chunks", model="deep_mil", chunk=CHUNK_PIXELS // self.recipe.patch_size**2)
        for n in self.drawn:
            yield self.sampling(n)
        yield self._case(f"IPS-{self.main}", model="ips", n_patches=self.main)

    def sampling(self, n: int) -> Case:
        """Attention sampling of `n` patches."""
        return self._case(f"ATS-{n}", model="ats", n_patches=n)

    def cnn(self, scale: float) -> Case:
        """The CNN on all pixels of an image at a scale."""
        height, width = (round(scale * side) for side in self.image_size)
        return self._case(f"CNN {scale:g}", model="cnn", view_size=(height, width))

    def smoke(self) -> "Task":
        """The same on a small image, with few rows."""
        height, width = (side // 6 for side in self.image_size)
        view = tuple(side // 3 for side in self.recipe.view_size)
        recipe = replace(self.recipe, view_size=view, mil_grid=(4, 4))
        drawn, scales = (self.main,), self.scales[-1:]
        return replace(self, recipe=recipe, image_size=(height, width), drawn=drawn, uniform=drawn, scales=scales)

    def _case(self, method: str, **changes: Any) -> Case:
        recipe = replace(self.recipe, **changes)
        return Case(method, recipe, self.image_size, self.bfloat16, *self.paper.get(method, (None, None)))


COLON = Task(
    "colon",
    "Table 1, colon cancer",
    ColonCancer(),
    image_size=(500, 500),
    drawn=(10, 50),
    main=10,
    uniform=(10, 50),
    scales=(0.5, 1.0),
    paper={
        "U-10": (1.8, 19),
        "U-50": (4.6, 24),
        "CNN 0.5": (4.8, 65),
        "CNN 1": (18.7, 250),
        "Deep MIL": (48.5, 644),
        "ATS-10": (1.8, 21),
        "ATS-50": (4.5, 26),
    },
)
SPEED_LIMITS = Task(
    "speed_limits",
    "Table 2, speed limits",
    SpeedLimits(),
    image_size=(960, 1280),
    drawn=(5, 10),
    main=5,
    uniform=(5, 10),
    scales=(0.3, 0.5, 1.0),
    paper={
        "U-5": (7.8, 39),
        "U-10": (10.8, 78),
        "CNN 0.3": (6.6, 86),
        "CNN 0.5": (15.6, 239),
        "CNN 1": (64.2, 958),
        "Deep MIL": (97.2, 1497),
        "ATS-5": (8.5, 86),
        "ATS-10": (10.3, 118),
    },
)
MNIST = Task(
    "mnist",
    "Megapixel MNIST",
    MegapixelMNIST(),
    image_size=(1500, 1500),
    drawn=(5, 10, 25, 50, 100),
    main=10,
    uniform=(10,),
    scales=(1.0,),
    paper={},
)
TASKS = {task.name: task for task in (COLON, SPEED_LIMITS, MNIST)}
