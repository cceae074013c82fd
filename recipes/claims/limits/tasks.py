"""Two tasks with any number of competitors, and nets of one layer of attention that learn them.

Shapes: N nets, B batch, M items, I values of an item, Q values of a query, H heads, D width.

[1] P. Veličković, C. Perivolaropoulos, F. Barbero, R. Pascanu, "Softmax is not enough (for sharp
    size generalisation)", arXiv:2410.01104, 2024.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.ranks.weights import CompetitorWeights

Weigh = Callable[[Tensor], Tensor]
TASKS = ("recall", "maximum", "maximum of uniform", "outvoted recall")
CLASSES = 8
KEY = 8  # values of a key; the values of keys are normal with unit length
ITEM = KEY + 1 + CLASSES  # key, priority, class
WIDTH, HEADS = 32, 2
# rule -> weights and law of `CompetitorWeights`; softmax has neither beta nor N
RULES: dict[str, tuple[str, str] | None] = {
    "softmax": None,
    "beta": ("rank", "geometric"),
    "scaled": ("scaled", "geometric"),
    "power": ("rank", "power"),
    "entmax": ("entmax", "geometric"),
    "scaled-entmax": ("scaled-entmax", "geometric"),
}


def draw(
    task: str, batch: int, items: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw items (B, M, I), queries (B, KEY), and the index (B,) of the item asked for.

    recall: the query is the key of one item, chosen at random. maximum: the item of the highest
    priority is asked for, as in [1]; priorities are normal, or uniform from 0 to 1. What a task
    does not use is 0. The class of the item is the answer; classes are drawn alike, but for
    outvoted recall, where half of the other items agree on another class.
    """
    x = torch.zeros(batch, items, ITEM)
    query = torch.zeros(batch, KEY)
    if task.endswith("recall"):
        x[..., :KEY] = functional.normalize(
            torch.randn(batch, items, KEY, generator=generator), dim=2
        )
        wanted = torch.randint(items, (batch,), generator=generator)
        query = x[torch.arange(batch), wanted, :KEY]
    else:
        uniform = task.endswith("uniform")
        pick = torch.rand if uniform else torch.randn
        x[..., KEY] = pick(batch, items, generator=generator)
        wanted = x[..., KEY].argmax(1)
    label = torch.randint(CLASSES, (batch, items), generator=generator)
    if task == "outvoted recall":
        here = torch.arange(batch), wanted
        agree = torch.rand(batch, items, generator=generator) < 0.5
        agree[here] = False
        other = label[here] + torch.randint(1, CLASSES, (batch,), generator=generator)
        label = torch.where(agree, other[:, None] % CLASSES, label)
    x[..., KEY + 1 :] = functional.one_hot(label, CLASSES)
    return x, query, wanted


def classes(x: Tensor, wanted: Tensor) -> Tensor:
    """Return the class (B,) of the wanted items (B,) of x (B, M, I)."""
    return x[torch.arange(len(x)), wanted, KEY + 1 :].argmax(1)


class Nets(nn.Module):
    """N nets as one: items and queries through a hidden layer, attention of one query, classes.

    All parameters have the nets first, so that each may have a learning rate of its own. Items
    are a set without positions, so only their number changes with length.

    Args:
        seeds: of the initial values, one for each net; they are the same for every rule.
        rule: a name in `RULES`.
    """

    def __init__(self, seeds: list[int], rule: str) -> None:
        super().__init__()
        shapes = {
            "item_in": (ITEM, WIDTH), "item_hidden": (WIDTH, WIDTH), "query_in": (KEY + 1, WIDTH),
            "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH),
            "pooled": (WIDTH, WIDTH), "out": (WIDTH, CLASSES),
        }  # fmt: skip
        drawn = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            drawn.append(
                [torch.randn(s, generator=generator) / math.sqrt(s[0]) for s in shapes.values()]
            )
        self.maps = nn.ParameterDict(
            {name: nn.Parameter(torch.stack(w)) for name, *w in zip(shapes, *drawn, strict=True)}
        )
        self.shift = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(len(seeds), shapes[name][1]))
                for name in ("item_in", "item_hidden", "query_in", "pooled", "out")
            }
        )
        choice = RULES[rule]
        # the heads of all nets are the heads of one module
        self.weights = None if choice is None else CompetitorWeights(len(seeds) * HEADS, *choice)

    def _map(self, name: str, x: Tensor) -> Tensor:
        """Map x (N, rows, in) to (N, rows, out)."""
        if name not in self.shift:
            return x @ self.maps[name]
        return torch.baddbmm(self.shift[name][:, None], x, self.maps[name])

    def forward(
        self, x: Tensor, query: Tensor, weigh: Weigh | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map x (N, B, M, I) and queries (N, B, KEY) to scores (N, B, CLASSES).

        Also return the weights (B, N, H, M). weigh: maps scores (B, N, H, M) to weights, instead
        of the rule.
        """
        nets, batch, items, _ = x.shape
        x = functional.gelu(self._map("item_in", x.flatten(1, 2)))
        x = x + self._map("item_hidden", x)
        ones = query.new_ones(nets, batch, 1)  # without a key, a query is a learned vector
        q = self._map(
            "query", functional.gelu(self._map("query_in", torch.cat([query, ones], 2)))
        ).view(nets, batch, HEADS, -1)
        k, v = (self._map(n, x).view(nets, batch, items, HEADS, -1) for n in ("key", "value"))
        scores = torch.einsum("nbhd,nbmhd->bnhm", q, k) / math.sqrt(q.shape[3])
        if weigh is not None:
            p = weigh(scores)
        elif self.weights is None:
            p = scores.softmax(-1)
        else:
            everything = torch.ones(items, dtype=torch.bool)
            p = self.weights(scores.flatten(1, 2)[:, :, None], everything)
            p = p.view(batch, nets, HEADS, items)
        y = torch.einsum("bnhm,nbmhd->nbhd", p, v).flatten(2)
        y = y + functional.gelu(self._map("pooled", y))
        return self._map("out", y), p
