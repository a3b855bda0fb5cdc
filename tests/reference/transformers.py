"""A small vision transformer, with attention written in each of the usual ways."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID, PATCH, WIDTH, HEADS, CLASSES = (3, 4), 4, 8, 2, 5
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From queries, keys and values (batch, heads, tokens, features)."""


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
    return F.dropout(weights, training=False) @ value


def by_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * query.shape[-1] ** -0.5
    return torch.einsum("bhqk,bhkd->bhqd", F.softmax(scores, -1), value)


def by_bmm(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    flat = [part.flatten(0, 1) for part in (query, key, value)]
    weights = torch.bmm(flat[0] * query.shape[-1] ** -0.5, flat[1].mT).softmax(-1)
    return torch.bmm(weights, flat[2]).view(query.shape)


ATTENTION: dict[str, Attention] = {
    "fused": fused,
    "written out": written_out,
    "einsum": by_einsum,
    "bmm": by_bmm,
}


class SelfAttention(nn.Module):
    """The queries, keys and values of all heads from one linear layer."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, _ = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        heads = self.attention(query, key, value)
        result: Tensor = self.proj(heads.transpose(1, 2).reshape(batch, count, WIDTH))
        return result


class TorchAttention(nn.Module):
    """torch's own module, which is one call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x, x, x, need_weights=False)[0]
        return result


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a skip connection."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = attention
        self.fc1, self.act, self.fc2 = nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.fc2(self.act(self.fc1(self.norm2(x))))
        return result


class TinyViT(nn.Module):
    """Tokens of a 3x4 grid behind `before` tokens, and in front of `after` others.

    The scores are those of the first token, or of the mean of all with `pooled`.
    """

    def __init__(
        self,
        attention: str = "fused",
        *,
        before: int = 1,
        after: int = 0,
        pooled: bool = False,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.pooled, (height, width) = pooled, GRID
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.before = nn.Parameter(torch.randn(1, before, WIDTH))
        self.after = nn.Parameter(torch.randn(1, after, WIDTH))
        self.places = nn.Parameter(torch.randn(1, before + height * width + after, WIDTH))
        make = (
            TorchAttention if attention == "torch" else partial(SelfAttention, ATTENTION[attention])
        )
        self.blocks = nn.ModuleList(Block(make()) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        extra = (part.expand(len(x), -1, -1) for part in (self.before, self.after))
        before, after = extra
        x = torch.cat([before, x, after], dim=1) + self.places
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        scores: Tensor = self.head(x.mean(1) if self.pooled else x[:, 0])
        return scores
