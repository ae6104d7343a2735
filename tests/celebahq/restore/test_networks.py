import pytest
import torch

from celebahq.restore.checkpoints import load_network
from celebahq.restore.infer import WEIGHTS
from celebahq.restore.networks import Network, RedNet, SrResNet, grow


@pytest.mark.parametrize("network", [RedNet((8, 8, 16), (2, 1, 1), (1, 0)), SrResNet(channels=8, blocks=2)])
def test_a_fresh_network_is_its_skip_connection(network: Network):
    image = torch.rand(1, 3, 16, 24)
    expected = torch.nn.functional.interpolate(image, scale_factor=network.scale, mode="bilinear")
    torch.testing.assert_close(network(image), expected if network.scale > 1 else image, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["deblocker", "enlarger"])
def test_a_pixel_reaches_no_further_than_the_halo(name: str, request: pytest.FixtureRequest):
    network: Network = request.getfixturevalue(name)
    side = 2 * network.halo + 9 * network.multiple
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    network.double()
    middle = network.halo + 4 * network.multiple
    core = slice(network.scale * middle, network.scale * (middle + network.multiple))
    network(image)[..., core, core].sum().backward()
    touched = image.grad[0].abs().sum(dim=(0, 1)).nonzero().flatten()  # type: ignore[index]
    reach = max(middle - int(touched.min()), int(touched.max()) - (middle + network.multiple - 1))
    assert reach <= network.halo
    assert reach > network.halo / 2  # a halo far too wide would cost time on every tile


@pytest.mark.parametrize(
    ("name", "fresh", "size"), [("jpeg", RedNet, 3_868_044), ("sr4x", SrResNet, 435_696)]
)
def test_the_shipped_networks_are_those_that_are_trained(name: str, fresh: type[Network], size: int):
    shipped = load_network(WEIGHTS / f"{name}.safetensors")
    assert type(shipped) is fresh
    assert shipped.config == fresh().config
    assert sum(parameter.numel() for parameter in shipped.parameters()) == size


def test_a_network_grows_without_changing_its_function(deblocker: Network):
    assert isinstance(deblocker, RedNet)
    large = RedNet((8, 8, 16, 24), (3, 1, 2, 2), (2, 4, 1))
    grow(deblocker, large)
    image = torch.rand(1, 3, 48, 64)
    torch.testing.assert_close(large(image), deblocker(image), rtol=0, atol=0)
    large(image).square().mean().backward()
    assert all(
        bool(value.grad.abs().sum() > 0)  # what is new can be learned
        for name, value in large.named_parameters()
        if name.startswith("up.2") or ("conv2" in name and not name.startswith("encoder.3"))
    )


@pytest.mark.parametrize("channels", [(8, 8), (8, 16, 16)])
def test_a_network_of_other_levels_is_not_filled(channels: tuple[int, ...], deblocker: Network):
    assert isinstance(deblocker, RedNet)
    with pytest.raises(ValueError, match=r"^large: "):
        grow(deblocker, RedNet(channels, 1))


def test_one_number_of_blocks_is_for_all_stages():
    assert RedNet((8, 8, 16), 2).config == RedNet((8, 8, 16), (2, 2, 2), (2, 2)).config
