"""mixup and cutmix: pairs of images and of targets, reproducible, with targets that tell the shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from medimg_training.augmentation.draws import image_keys
from medimg_training.augmentation.mixing import mix
from medimg_training.augmentation.policy import Mix, Policy, preset

COUNT = 24
MIXUP, CUTMIX = Policy("m", mixup=Mix(1, 0.4)), Policy("c", cutmix=Mix(1, 1.0))
BOTH = Policy("b", mixup=Mix(0.4, 0.4), cutmix=Mix(0.4, 1.0))


def batch(count: int = COUNT, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Image n is n everywhere, and of class n: a mixed image tells what it is made of."""
    images = torch.arange(float(count))[:, None, None, None].expand(count, 2, 20, 30).clone()
    return images, torch.eye(count), image_keys(seed, 0, np.arange(count))


def test_mixup_blends_image_and_target_with_the_same_weight() -> None:
    images, targets, keys = batch()
    out, soft = mix(images, targets, keys, MIXUP)
    for n in range(COUNT):
        partner = int(np.delete(soft[n].numpy(), n).argmax())
        partner += partner >= n
        own = soft[n, n]
        torch.testing.assert_close(own + soft[n, partner], torch.tensor(1.0))
        torch.testing.assert_close(
            out[n], torch.full((2, 20, 30), float(own * n + (1 - own) * partner)), rtol=0, atol=1e-4
        )
    assert ((soft > 0).sum(1) == 2).float().mean() > 0.9


def test_cutmix_pastes_one_rectangle_and_its_share_is_the_targets() -> None:
    images, targets, keys = batch()
    out, soft = mix(images, targets, keys, CUTMIX)
    for n in range(COUNT):
        foreign = out[n, 0] != n
        assert torch.equal(out[n, 0], out[n, 1])
        torch.testing.assert_close(soft[n, n], 1 - foreign.float().mean())
        if foreign.any():
            partner = int(out[n, 0][foreign][0])
            assert (out[n, 0][foreign] == partner).all()
            torch.testing.assert_close(soft[n, partner], foreign.float().mean())
            assert foreign.sum() == foreign.any(0).sum() * foreign.any(1).sum()
    shares = soft.diagonal()
    assert shares.min() < 0.5 and shares.max() > 0.8


def test_targets_still_sum_to_one_and_inputs_are_not_touched() -> None:
    images, targets, keys = batch()
    for policy in (MIXUP, CUTMIX, BOTH):
        _, soft = mix(images, targets, keys, policy)
        torch.testing.assert_close(soft.sum(1), torch.ones(COUNT))
        assert soft.amin() >= 0
    assert torch.equal(images, batch()[0]) and torch.equal(targets, torch.eye(COUNT))


def test_the_share_of_mixed_images_is_the_policys() -> None:
    images, targets, keys = batch(2000)
    out, soft = mix(images[:, :1, :4, :4], targets, keys, Policy("b", mixup=Mix(0.3, 1.0), cutmix=Mix(0.2, 0.05)))
    even = (out == out[:, :, :1, :1]).flatten(1).all(1)
    blended = even & (soft.diagonal() < 1) & (soft.diagonal() > 0) & (out[:, 0, 0, 0] != torch.arange(2000))
    assert 0.26 < blended.float().mean() < 0.34
    assert 0.5 < (soft.diagonal() == 1).float().mean() < 0.68


def test_mixup_weights_follow_their_beta_distribution() -> None:
    images, targets, keys = batch(1500)
    _, soft = mix(images[:, :1, :1, :1], targets, keys, MIXUP)
    assert kstest(soft.diagonal().double().numpy(), beta(0.4, 0.4).cdf).pvalue > 0.01


def test_nobody_is_its_own_partner_and_everybody_is_somebodys() -> None:
    images, targets, keys = batch()
    _, soft = mix(images, targets, keys, Policy("m", mixup=Mix(1, 50.0)))  # weights near a half
    others = soft - torch.diag(soft.diagonal())
    assert ((others > 0.2).sum(0) == 1).all() and ((others > 0.2).sum(1) == 1).all()


def test_the_same_batch_in_another_order_is_mixed_in_the_same_way() -> None:
    images, targets, keys = batch()
    out, soft = mix(images, targets, keys, BOTH)
    order = np.random.default_rng(0).permutation(COUNT)
    again, soft_again = mix(images[order], targets[order], keys[order], BOTH)
    assert torch.equal(again, out[order]) and torch.equal(soft_again, soft[order])
    other = mix(images, targets, batch(seed=1)[2], BOTH)[0]
    assert not torch.equal(other, out)


def test_a_policy_that_does_not_mix_and_a_batch_of_one_come_back_as_they_are() -> None:
    images, targets, keys = batch()
    assert mix(images, targets, keys, preset("medium"))[0] is images
    alone, target = mix(images[:1], targets[:1], keys[:1], MIXUP)
    assert torch.equal(alone, images[:1]) and torch.equal(target, targets[:1])


def test_lengths_that_do_not_agree_are_refused() -> None:
    images, targets, keys = batch()
    with pytest.raises(ValueError, match="as many"):
        mix(images, targets[:3], keys, MIXUP)
