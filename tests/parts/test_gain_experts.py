"""QCMoE with a gate on either side: monotone, by content, undone where nothing is rounded."""

import torch

from kinema.parts.gain_experts import MOST, GainExperts, GainPair

CRF = torch.linspace(0, 63, 22)


def make(*, is_inverse, num_experts=3):
    torch.manual_seed(0)
    experts = GainExperts(6, num_experts, 8, start=4.0, is_inverse=is_inverse)
    with torch.no_grad():
        experts.offset += torch.randn_like(experts.offset) * 0.3
        experts.slope += torch.randn_like(experts.slope)
    return experts.requires_grad_(requires_grad=False)


def test_gains_never_turn_back_from_quality_to_quality():
    falling, rising = (make(is_inverse=side).gains(CRF).diff(dim=0) for side in (False, True))
    assert (falling <= 0).all()
    assert (falling < 0).any()
    assert (rising >= 0).all()
    assert (rising > 0).any()


def test_gains_are_bounded():
    experts = make(is_inverse=False)
    experts.offset.fill_(50.0)
    assert torch.allclose(experts.gains(CRF), torch.tensor(4.0 * MOST))


def test_experts_are_chosen_by_place_and_quality():
    experts = make(is_inverse=False)
    f = torch.randn(1, 6, 4, 5) * 5
    scaled, shares = experts(f, torch.tensor([20.0]))
    assert scaled.shape == f.shape
    assert torch.allclose(shares.sum(1), torch.ones(1, 4, 5))
    assert shares.flatten(2).std(2).min() > 0
    assert not torch.allclose(shares, experts(f, torch.tensor([50.0]))[1])


def test_a_new_pair_undoes_itself_but_for_rounding():
    torch.manual_seed(0)
    pair, crf = GainPair(6, 1, 8, start=16.0), torch.tensor([30.0, 50.0])
    y = torch.randn(2, 6, 3, 4)
    with torch.no_grad():
        scaled, _ = pair.analysis(y, crf)
        back, _ = pair.synthesis(scaled, crf)
    assert torch.allclose(back, y, atol=1e-5)
    assert (scaled[0].abs() > y[0].abs()).all()
