"""The same head under a maintained library, where it is installed: `pip install dattri`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rtx.influence.head import Inverse, influences
from tests.influence.worlds import fitted


def test_equals_dattri() -> None:
    """dattri takes the mean of the losses where we take their sum, no minus, and rounds gradients to float32."""
    algorithm = pytest.importorskip("dattri.algorithm.influence_function", reason="dattri is not installed")
    task = pytest.importorskip("dattri.task")
    head = fitted(40, 5, 3)
    n, ridge = len(head.train), 0.03

    model = torch.nn.Linear(5, 3).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(head.weight))
        model.bias.copy_(torch.from_numpy(head.bias))

    def loss(params: Any, data: Any) -> Any:
        x, y = data
        logits = torch.func.functional_call(model, params, x)
        return torch.nn.functional.cross_entropy(logits, y.reshape(-1))

    def loader(x: Any, y: Any) -> Any:
        data = torch.utils.data.TensorDataset(torch.from_numpy(x).double(), torch.from_numpy(y))
        return torch.utils.data.DataLoader(data, batch_size=len(x), shuffle=False)

    asked = task.AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    attributor = algorithm.IFAttributorExplicit(task=asked, regularization=ridge)
    train = loader(head.train, head.train_labels)
    attributor.cache(train)
    theirs = attributor.attribute(train, loader(head.test, head.test_labels)).detach().numpy()
    assert np.allclose(theirs, n * influences(head, Inverse("ridge", ridge)).values.T, rtol=1e-4, atol=1e-6)
