"""What every feature network promises: unit length, its size, finite gradients, its parameters."""

import pytest
import torch

from ats_core.errors import GeometryError
from ats_core.features import FEATURE_NETWORKS, FeatureNetwork, features_of_patches

PAPER = {  # channels, patch side, D, parameters counted by hand from the layers
    "resnet8": (3, 100, 32, 864 + 3 * (2 * 9216 + 1024 + 2 * 64) + 64),
    "lenet": (1, 50, 32, (49 * 32 + 32) + 3 * (9 * 32 * 32 + 32)),
    "nucleus": (3, 27, 512, (48 * 36 + 36) + (324 * 48 + 48) + (1200 * 512 + 512) + (512 * 512 + 512)),
}
SMALLEST = {"resnet8": 1, "lenet": 13, "nucleus": 11}


def test_every_network_is_covered() -> None:
    assert set(PAPER) == set(SMALLEST) == set(FEATURE_NETWORKS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", FEATURE_NETWORKS)
class TestEveryNetwork:
    def test_has_the_papers_size(self, name: str) -> None:
        channels, side, n_features, n_parameters = PAPER[name]
        network = FEATURE_NETWORKS[name](channels=channels, patch_size=side)
        assert isinstance(network, FeatureNetwork)
        assert network.n_features == n_features
        assert sum(p.numel() for p in network.parameters()) == n_parameters

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("side", [27, 32])
    @pytest.mark.parametrize("training", [True, False])
    def test_features_have_unit_length(self, name: str, channels: int, side: int, training: bool) -> None:
        network = FEATURE_NETWORKS[name](channels=channels, patch_size=side).train(training)
        features = network(torch.randn(4, channels, side, side))
        assert features.shape == (4, network.n_features)
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(4))

    def test_tell_patches_apart(self, name: str) -> None:
        network = FEATURE_NETWORKS[name](channels=3, patch_size=27).eval()
        features = network(torch.randn(2, 3, 27, 27))
        assert (features[0] - features[1]).abs().max() > 1e-4

    def test_takes_its_smallest_patch(self, name: str) -> None:
        side = SMALLEST[name]
        network = FEATURE_NETWORKS[name](channels=3, patch_size=side).eval()
        assert network(torch.randn(2, 3, side, side)).shape == (2, network.n_features)

    @pytest.mark.parametrize("training", [True, False])
    def test_a_blank_patch_gives_finite_features_and_gradients(self, name: str, training: bool) -> None:
        """A patch wholly outside of the image is all zeros."""
        network = FEATURE_NETWORKS[name](channels=3, patch_size=27).train(training)
        for parameter_name, parameter in network.named_parameters():
            if parameter_name.endswith("bias"):
                torch.nn.init.zeros_(parameter)  # then its features are zero before they are normalised
        patches = torch.zeros(2, 3, 27, 27, requires_grad=True)
        features = network(patches)
        features.sum().backward()
        assert features.isfinite().all()
        assert all(p.grad.isfinite().all() for p in (patches, *network.parameters()))

    def test_one_pass_over_all_patches_is_a_pass_over_each_image(self, name: str) -> None:
        network = FEATURE_NETWORKS[name](channels=3, patch_size=27).eval()
        patches = torch.randn(2, 3, 27, 27, 3).movedim(-1, 2)  # the strides that standardised patches have
        together = features_of_patches(network, patches)
        assert together.shape == (2, 3, network.n_features)
        for image, features in zip(patches, together, strict=True):
            torch.testing.assert_close(features, network(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, side in SMALLEST.items() if side > 1])
def test_a_patch_too_small_is_refused(name: str) -> None:
    with pytest.raises(GeometryError, match=f"the network needs {SMALLEST[name]} pixels"):
        FEATURE_NETWORKS[name](channels=3, patch_size=SMALLEST[name] - 1)
