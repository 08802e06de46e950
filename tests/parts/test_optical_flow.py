"""Flow: it points back, begins as zero, and keeps its meaning when resized."""

import torch

from kinema.parts.optical_flow import FlowConfig, FlowNet, rescale, warp


def test_warping_fetches_from_where_the_flow_points():
    f = torch.rand(1, 3, 6, 8)
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0] = 2
    assert torch.allclose(warp(f, flow)[..., :6], f[..., 2:], atol=1e-5)
    assert torch.allclose(warp(f, flow)[..., 7], f[..., 7], atol=1e-5)  # beyond the border


def test_vectors_shrink_with_the_picture():
    flow = torch.ones(1, 2, 8, 16) * 4
    assert rescale(flow, 0.25).shape == (1, 2, 2, 4)
    assert torch.allclose(rescale(flow, 0.25), torch.ones(1, 2, 2, 4))


def test_the_network_begins_with_zero_flow_and_learns():
    torch.manual_seed(0)
    network = FlowNet(FlowConfig(channels=(8, 8, 8, 8), kernel=3, levels=3))
    coarse = torch.rand(1, 3, 8, 8)
    before = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic")
    now = before.roll(-2, 3)
    assert not network(now, before).any()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    errors = []
    for _ in range(25):
        error = (warp(before, network(now, before)) - now).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]
