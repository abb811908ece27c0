"""The discretised logistic: the probability of each grey level, and so a likelihood of 8-bit images as they are stored.

Kingma et al. 2016 (appendix), Salimans et al. 2017 (section 2.1). Shapes: b batch, c h w image.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from lehr.limits import PositiveFloat
from lehr.objective.inverse import increasing_inverse
from lehr.objective.likelihood import Learned, Scaled
from lehr.posterior.posterior import at_least_float32


class DiscretizedLogistic(Scaled):
    """Logistic(decoder output, scale), rounded to the nearest of the grey levels 0, 1/(levels - 1), ..., 1.

    What lies beyond them belongs to the first and the last. `x` must be of these levels.

    Args:
        levels: how many, 3 or more (binary pixels are Bernoulli: there the scale would change nothing).
        scale: of the logistic distribution, a number > 0; or "learned", one parameter.
    """

    levels: int

    def __init__(self, levels: Annotated[int, Ge(3)] = 256, scale: PositiveFloat | Learned = "learned") -> None:
        super().__init__(scale)
        if levels < 3:
            raise ValueError(f"likelihood.levels={levels}: must be 3 or more; binary pixels want likelihood=bernoulli")
        self.levels = levels

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        location = at_least_float32(parameters)
        width = 1 / (self.levels - 1)
        inverse_scale = (-self.bounded_log_scale()).exp()
        x = x.to(location.dtype)
        error = x - location
        upper, lower = (error + width / 2) * inverse_scale, (error - width / 2) * inverse_scale
        # With s the logistic function s(u) - s(l) = s(u) s(-l) (1 - exp(l - u)): no difference of almost equal numbers
        # is left. The last level has u = infinity, the first l = -infinity; both are without the last factor.
        first, last = x < width / 2, x > 1 - width / 2
        below_upper = F.logsigmoid(upper).masked_fill(last, 0.0)
        above_lower = F.logsigmoid(-lower).masked_fill(first, 0.0)
        between = (-torch.expm1(-width * inverse_scale)).log()
        return (below_upper + above_lower + torch.where(first | last, 0.0, between)).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z] but for the rounding to levels: the mean of the logistic clipped to [0, 1].

        The rounding moves it by less than a fortieth of a level where the scale is half a level or more.
        """
        return self._mean(at_least_float32(parameters))

    def parameters_at(self, mean: Tensor) -> Tensor:
        # a pixel that is always black or always white would have an infinite location
        inside = mean.clamp(0.001, 0.999)
        reach = 10 * float(self.bounded_log_scale().detach().exp())
        return increasing_inverse(self._mean, inside, -reach, 1 + reach)

    def _mean(self, location: Tensor) -> Tensor:
        # the integral over [0, 1] of P(logistic > t)
        scale = self.bounded_log_scale().exp()
        return scale * (F.softplus(location / scale) - F.softplus((location - 1) / scale))
