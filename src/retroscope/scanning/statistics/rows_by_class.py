"""Tables with a row for each class that occurs, as tensors and back."""

from collections.abc import Iterator, Mapping, Sequence

import torch

Columns = Mapping[str, torch.Tensor]


def stack_rows(rows: Mapping[int, Columns], empty: Columns) -> dict[str, torch.Tensor]:
    """The labels in ascending order (classes), and each column of their rows (classes, ...).

    `empty` is the row of a class that does not occur.
    """
    labels = sorted(rows)
    columns = {
        name: torch.stack([rows[label][name] for label in labels]) if labels else column[None][:0]
        for name, column in empty.items()
    }
    return {"labels": torch.tensor(labels, dtype=torch.int64, device="cpu"), **columns}


def split_rows(
    tensors: Columns, names: Sequence[str]
) -> Iterator[tuple[int, tuple[torch.Tensor, ...]]]:
    """The label and the columns of each row that `stack_rows` was called on.

    Rows are in memory of their own: a view of one would keep all.
    """
    columns = zip(*(tensors[name] for name in names), strict=True)
    for label, row in zip(tensors["labels"].tolist(), columns, strict=True):
        yield label, tuple(column.clone() for column in row)
