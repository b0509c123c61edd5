"""Each loss against its definition, computed in another way."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from rtx.adversarial.losses import (
    CLASSIFIER_LOSSES,
    IGNORED,
    SEGMENTER_LOSSES,
    classified,
    dlr,
    margin,
    segmented,
    targeted_dlr,
)
from rtx.errors import BadValue


@pytest.fixture
def scores():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 5, 2, 3, 3])


def test_the_margin_is_positive_exactly_where_an_image_is_wrong(scores):
    assert ((margin(scores, LABELS) > 0) == (scores.argmax(dim=1) != LABELS)).all()


def test_dlr_is_the_papers_formula_and_blind_to_scale(scores):
    for row, label, value in zip(scores.numpy(), LABELS.tolist(), dlr(scores, LABELS).tolist(), strict=True):
        first, _, third = np.sort(row)[::-1][:3]
        other = max(np.delete(row, label))
        assert value == pytest.approx(-(row[label] - other) / (first - third), rel=1e-5)
    torch.testing.assert_close(dlr(100 * scores, LABELS), dlr(scores, LABELS))


def test_targeted_dlr_is_the_papers_formula(scores):
    targets = (LABELS + 1) % 6
    found = targeted_dlr(scores, LABELS, targets).tolist()
    for row, label, target, value in zip(scores.numpy(), LABELS.tolist(), targets.tolist(), found, strict=True):
        order = np.sort(row)[::-1]
        assert value == pytest.approx(-(row[label] - row[target]) / (order[0] - (order[2] + order[3]) / 2), rel=1e-5)


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_a_targeted_attack_gains_as_the_target_does(scores, name):
    targets = (LABELS + 1) % 6
    higher = scores.scatter_add(1, targets[:, None], torch.full((5, 1), 0.01))
    (low, less), (high, more) = (classified(name, row, LABELS, targets) for row in (scores, higher))
    assert (high > low).all()
    assert (more > less).all()


def test_a_target_out_of_range_is_refused(scores):
    with pytest.raises(BadValue, match="target 8: must be 0 to 5"):
        classified("ce", scores, LABELS, LABELS + 3)


def test_dlr_needs_three_classes_and_four_with_a_target():
    with pytest.raises(BadValue, match="three classes"):
        dlr(torch.zeros(1, 2), torch.tensor([0]))
    with pytest.raises(BadValue, match="four classes"):
        targeted_dlr(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1]))


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(1)
    scores = 2 * torch.randn(3, 4, 8, 9, generator=generator)
    labels = torch.randint(0, 4, (3, 8, 9), generator=generator)
    labels[:, 0] = IGNORED
    return scores, labels


@pytest.mark.parametrize("name", SEGMENTER_LOSSES)
def test_pixels_without_a_label_count_nowhere(maps, name):
    scores, labels = maps
    loss, harm = segmented(name, scores, labels)
    scores[:, :, 0] = 100 * torch.rand(3, 4, 9)
    after, harm_after = segmented(name, scores, labels)
    torch.testing.assert_close(after, loss)
    torch.testing.assert_close(harm_after, harm)


def test_harm_is_the_share_of_wrong_pixels(maps):
    scores, labels = maps
    wrong = (scores.argmax(dim=1) != labels)[:, 1:]
    torch.testing.assert_close(segmented("ce", scores, labels)[1], wrong.flatten(1).float().mean(dim=1))


def test_js_is_the_jensen_shannon_divergence(maps):
    scores, labels = maps
    found = segmented("js", scores, labels)[0]
    for row, label, value in zip(scores.softmax(dim=1).numpy(), labels.numpy(), found.tolist(), strict=True):
        each = [jensenshannon(row[:, y, x], np.eye(4)[label[y, x]]) ** 2 for y, x in np.argwhere(label != IGNORED)]
        assert value == pytest.approx(np.mean(each), rel=1e-4)


def test_masked_losses_have_a_gradient_at_right_pixels_only(maps):
    scores, labels = maps
    scores.requires_grad_()
    right = (scores.argmax(dim=1) == labels) & (labels != IGNORED)
    for name in ("masked_ce", "balanced_ce"):
        (gradient,) = torch.autograd.grad(segmented(name, scores, labels)[0].sum(), scores)
        assert ((gradient.abs().sum(dim=1) > 0) == right).all()


def test_balanced_cross_entropy_is_the_mean_over_classes_of_their_own_means(maps):
    scores, labels = maps
    right = scores.argmax(dim=1) == labels
    each = torch.nn.functional.cross_entropy(scores, labels, reduction="none", ignore_index=IGNORED) * right
    for found, loss, label in zip(segmented("balanced_ce", scores, labels)[0], each, labels, strict=True):
        means = [loss[label == c].mean() for c in range(4) if (label == c).any()]
        torch.testing.assert_close(found, torch.stack(means).mean())
