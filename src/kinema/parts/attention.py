"""Attention over a few sampled points per place, in exact arithmetic.

Source: guided deformable attention of RVRT (arXiv 2206.02146), section 3.3. Deviation: position
biases are learned, and the softmax is to the base of two.
"""

import torch
from torch import Tensor, nn

from kinema.nn.exact import BIAS_UNIT, Arithmetic, GridLayer, whole_tensor
from kinema.parts.powers import divide, softmax_shares

QUERY_LIMIT = 512  # clamp of queries: products with MAX_HEAD_CHANNELS keys stay within 2**24
MAX_HEAD_CHANNELS = 16
LOGIT_SHIFT = 9  # queries and keys of 100 give logits of an octave or two


class PointAttention(GridLayer):
    """Mean of values, weighted by how well their keys and positions answer a query.

    All points of all references compete in one softmax; missing references are left out of it.
    """

    tensor_names = ("position",)

    def __init__(self, position: Tensor) -> None:
        """Create the layer.

        Args:
            position: (references, heads, points), initial bias of each, in octaves of weight.
        """
        super().__init__()
        self.position = nn.Parameter(position)

    def forward(self, asked: Tensor, sampled: Tensor) -> Tensor:
        """Answer queries.

        Args:
            asked: queries, (B, L, V) on the grid, heads one after the other.
            sampled: keys, then values of J references at all points,
                (J B, L, heads, points, 2 V / heads) on the grid.

        Returns:
            (B, L, V), on the grid.
        """
        sampled = sampled.view(-1, *asked.shape[:2], *sampled.shape[2:])
        keys, values = sampled.chunk(2, -1)
        asked = asked.clamp(-QUERY_LIMIT, QUERY_LIMIT - 1)
        asked = asked.view(*asked.shape[:2], sampled.shape[3], -1, 1)
        with torch.autocast(asked.device.type, enabled=False):
            logits = self.on_grid(torch.matmul(keys, asked).squeeze(-1) * 2.0**-LOGIT_SHIFT)
            position = self.on_grid(self.position[: len(sampled)] * BIAS_UNIT)
            logits = logits + position[:, None, None].to(logits.dtype)
            shares = softmax_shares(logits, (0, 4), self.arithmetic)
            found = torch.matmul(shares.unsqueeze(-2), values).squeeze(-2).sum(0)
        return divide(found, shares.sum(0).sum(-1, keepdim=True), self.arithmetic).flatten(2)

    def grid_tensors(self) -> dict[str, Tensor]:
        """Position biases in units of a logit: `position` (references, heads, points) int16."""
        position = torch.round(self.position.detach() * BIAS_UNIT)
        return {"position": position.clamp(-(2**15), 2**15 - 1).to(torch.int16)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number position biases and run frozen from now on.

        Raises:
            ConfigError: another type or shape.
        """
        position = whole_tensor(tensors, "position", torch.int16, self.position.shape)
        self.position = nn.Parameter(position.float() / BIAS_UNIT, requires_grad=False)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Position biases as training has them."""
        return {"position": tensors["position"] / BIAS_UNIT}
