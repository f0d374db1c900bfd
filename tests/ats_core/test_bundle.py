"""A bundle gives the same model back, or says why not, and never runs what it reads."""

import json
import pickle
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ats_core import bundle
from ats_core.errors import AtsError, BundleError, RecipeError
from ats_core.models import Model
from ats_core.recipes import MODELS, RECIPES, MegapixelMNIST, Recipe, SpeedLimits

SMALL = MegapixelMNIST(view_size=(6, 6), patch_size=15, n_patches=2)


def built(recipe: Recipe) -> Model:
    torch.manual_seed(0)
    model = recipe.build()
    step(model, recipe)  # in training mode, so that running statistics are no longer the initial ones
    return model


@torch.no_grad()
def step(model: Model, recipe: Recipe) -> Tensor:
    g = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (2, *recipe.view_size, recipe.channels), dtype=torch.uint8, generator=g)
    views = model.standardise(views)
    drawn = model.propose(views, generator=g)
    shape = (*drawn.cells.shape, *(model.patch_size,) * 2, recipe.channels)
    stored = torch.randint(0, 256, shape, dtype=torch.uint8, generator=g)
    return model(views, drawn, model.standardise(stored)).logits


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundle.dumps(built(SMALL), SMALL)


def with_config(files: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    content = json.loads(files[bundle.CONFIG])
    content["recipe"] |= changes
    return {**files, bundle.CONFIG: json.dumps(content).encode()}


class TestRoundTrip:
    @pytest.mark.parametrize("model_name", MODELS)
    @pytest.mark.parametrize("task", RECIPES)
    def test_gives_identical_outputs(self, task: str, model_name: str, tmp_path: Path) -> None:
        recipe = replace(RECIPES[task](), model=model_name, n_patches=2, mil_grid=(2, 3), gated=True)
        model = built(recipe)
        bundle.save(model, recipe, tmp_path / "new" / "model")
        loaded, loaded_recipe = bundle.load(tmp_path / "new" / "model")
        assert type(loaded) is type(model)
        assert asdict(loaded_recipe) == asdict(recipe)
        assert not loaded.training
        assert torch.equal(step(loaded, recipe), step(model.eval(), recipe))

    def test_is_two_files_without_a_pickle(self, tmp_path: Path) -> None:
        bundle.save(built(SMALL), SMALL, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
        assert json.loads((tmp_path / "config.json").read_text())["recipe"]["task"] == "megapixel_mnist"
        weights = (tmp_path / "model.safetensors").read_bytes()
        header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])  # all but numbers is this JSON
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        assert len(weights) == 8 + int.from_bytes(weights[:8], "little") + end

    def test_replaces_an_older_bundle(self, tmp_path: Path) -> None:
        other = replace(SMALL, features="resnet8")
        for recipe in (SMALL, other):
            bundle.save(built(recipe), recipe, tmp_path)
        assert asdict(bundle.load(tmp_path)[1]) == asdict(other)


class TestDamage:
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_a_missing_file_is_named(self, files: dict[str, bytes], name: str) -> None:
        with pytest.raises(BundleError, match=f"bundle without {name}"):
            bundle.loads({k: v for k, v in files.items() if k != name})

    def test_a_missing_directory_is_an_empty_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"bundle without config\.json"):
            bundle.load(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        "config", [b"", b"{", b"\xff", b"[]", b"{}", b"3", b'{"format": 1}', b'{"format": 1, "recipe": []}']
    )
    def test_a_config_that_is_none(self, files: dict[str, bytes], config: bytes) -> None:
        with pytest.raises(BundleError, match=r"config\.json"):
            bundle.loads({**files, bundle.CONFIG: config})

    def test_another_format_is_named(self, files: dict[str, bytes]) -> None:
        content = json.loads(files[bundle.CONFIG]) | {"format": 2}
        with pytest.raises(BundleError, match="format 2, this version reads 1"):
            bundle.loads({**files, bundle.CONFIG: json.dumps(content).encode()})

    def test_an_unknown_setting_is_named(self, files: dict[str, bytes]) -> None:
        with pytest.raises(BundleError, match="depth"):
            bundle.loads(with_config(files, depth=3))

    def test_an_unknown_network_is_named(self, files: dict[str, bytes]) -> None:
        with pytest.raises(RecipeError, match="resnet50"):
            bundle.loads(with_config(files, features="resnet50"))

    @pytest.mark.parametrize(
        "changes",
        [{"features": "resnet8"}, {"classes": ["a", "b"]}, {"channels": 3, "mean": [0.0] * 3, "std": [1.0] * 3}],
    )
    def test_weights_of_another_model(self, files: dict[str, bytes], changes: dict[str, object]) -> None:
        with pytest.raises(BundleError, match=r"model\.safetensors"):
            bundle.loads(with_config(files, **changes))

    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(st.data())
    def test_weights_cut_short(self, files: dict[str, bytes], data: st.DataObject) -> None:
        weights = files[bundle.WEIGHTS]
        cut = data.draw(st.integers(0, 2000) | st.integers(0, len(weights) - 1))
        with pytest.raises(BundleError, match=r"model\.safetensors"):
            bundle.loads({**files, bundle.WEIGHTS: weights[:cut]})

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.data())
    def test_any_value_in_any_setting_loads_or_is_a_typed_error(
        self, files: dict[str, bytes], data: st.DataObject
    ) -> None:
        scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5)
        values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
        setting = data.draw(st.sampled_from(sorted(asdict(SMALL))))
        with suppress(AtsError):
            bundle.loads(with_config(files, **{setting: data.draw(values)}))


class Touch:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


class TestForeignCode:
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_a_pickle_is_refused_unread(self, files: dict[str, bytes], name: str, tmp_path: Path) -> None:
        trace = tmp_path / "ran"
        poison = pickle.dumps(Touch(trace))
        with pytest.raises(BundleError, match=name):
            bundle.loads({**files, name: poison})
        assert not trace.exists()
        pickle.loads(poison)
        assert trace.exists()  # so the pickle would have run

    @pytest.fixture
    def own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """A user's module with networks of its own."""
        lines = (
            "from ats_core.attention import DenseAttention as attention",
            "from ats_core.features import LeNet as features",
            "from ats_core.backbones import resnet8 as backbone",
        )
        (tmp_path / "a_users_networks.py").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "a_users_networks", raising=False)
        return "a_users_networks"

    def test_an_own_backbone_is_refused_unless_trusted(self, own: str) -> None:
        trusted = replace(SMALL, model="cnn", backbone="resnet8")
        files = bundle.dumps(built(trusted), replace(trusted, backbone=f"{own}:backbone"))
        with pytest.raises(BundleError, match="own_networks=True"):
            bundle.loads(files)
        assert own not in sys.modules
        loaded, _ = bundle.loads(files, own_networks=True)
        assert torch.equal(step(loaded, trusted), step(built(trusted).eval(), trusted))

    @pytest.mark.parametrize("setting", ["attention", "features"])
    def test_an_own_network_is_refused_unless_trusted(self, own: str, setting: str) -> None:
        recipe = replace(SMALL, **{setting: f"{own}:{setting}"})
        files = bundle.dumps(built(SMALL), recipe)
        with pytest.raises(BundleError, match="own_networks=True"):
            bundle.loads(files)
        assert own not in sys.modules
        loaded, _ = bundle.loads(files, own_networks=True)
        assert torch.equal(step(loaded, SMALL), step(built(SMALL).eval(), SMALL))

    def test_an_own_network_that_is_not_installed_is_named(self) -> None:
        recipe = replace(SpeedLimits(), features="not_installed:net")
        config = json.dumps({"format": bundle.FORMAT, "recipe": asdict(recipe)}).encode()
        with pytest.raises(RecipeError, match="Install the package"):
            bundle.loads({bundle.CONFIG: config, bundle.WEIGHTS: b""}, own_networks=True)
