"""A direction learnt from a classifier A through G (GANalyze, Goetschalckx et al., 2019).

    d = B a            columns of B: what the codes vary in, one deviation each; a is learnt
    X = G(w),  X' = G(w + t d),  t = 1 or -1
    L = softplus(m - t A_j(V(X'))) + others + mean((X' - X)^2) + mean(pool(X' - X)^2) + |a|^2

weighed as below; `others`, V and pool are those of `attribute_edits.py`. A boundary between codes
tells what differs between people with and without an attribute, light and background included;
this direction is what brings the attribute.

Shapes: M codes (M, D), the same for every style vector, or (M, N, D).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from stylefeatureeditor.directions.fit import principal_components
from stylefeatureeditor.directions.labelled import as_wplus
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training.attribute_edits import (
    CELLS,
    find_attribute,
    inside,
    others_moved,
    varied,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from stylefeatureeditor.generator.stylegan2 import Generator
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier

STEPS, BATCH = 75, 16
RATE, BETAS = 0.05, (0.9, 0.99)
AXES = 200  # of the codes' widest; a weak encoder has fewer
MARGIN = 3.0  # logit
OTHERS, CHANGE, LIGHT, LENGTH = 5.0, 20.0, 10.0, 0.02


def learn_direction(
    generator: Generator,
    codes: Tensor,
    classifier: AttributeClassifier,
    attribute: str,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Return a direction of unit length, (D,) or (N, D) as the codes are.

    ConfigError for too few codes, or an attribute that the classifier does not know.
    """
    if len(codes) < 2:
        raise ConfigError(f"a direction is learnt on at least 2 codes, got {len(codes)}")
    column, sign = find_attribute(classifier, attribute)
    shape, device = codes.shape[1:], generator.latent_avg.device
    flat = codes.flatten(1)
    count = min(AXES, len(codes) - 1, flat.shape[1])
    axes = principal_components(flat, count).to(device)  # (K, N D), a deviation long each
    amounts = torch.zeros(len(axes), device=device, requires_grad=True)
    optimizer = torch.optim.Adam([amounts], lr=RATE, betas=BETAS)
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2 - 2 * step / STEPS)
            chosen = torch.randint(len(codes), (BATCH,))
            towards = torch.tensor([1.0, -1.0], device=device).repeat(BATCH // 2)
            moves = towards.view(-1, *[1] * len(shape)) * (amounts @ axes).view(shape)
            before = codes[chosen].to(device)
            with torch.no_grad():
                plain = generator.synthesize(Codes(as_wplus(before, generator)))
            drawn = generator.synthesize(Codes(as_wplus(before + moves, generator)))
            seen, before_seen = varied(inside(drawn), inside(plain))
            said, scores = classifier(seen), classifier(before_seen)
            flip = functional.softplus(MARGIN - sign * towards * said[:, column]).mean()
            light = functional.adaptive_avg_pool2d(drawn - plain, CELLS)
            loss = (
                flip
                + OTHERS * others_moved(said, scores, column)
                + CHANGE * (drawn - plain).square().mean()
                + LIGHT * light.square().mean()
                + LENGTH * amounts.square().sum()
            )
            (amounts.grad,) = torch.autograd.grad(loss, [amounts])
            optimizer.step()
            if progress is not None:
                progress(step + 1)
    return functional.normalize((amounts @ axes).detach(), dim=0).view(shape).cpu()
