"""Train with PyTorch, stop in the middle of an epoch, resume: the losses are those of the run that was never stopped.

The DataLoader's workers decode ahead; what they have fetched but the model has not seen is not
counted as seen. The state is a small dict; it would also resume at another number of workers or ranks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import shardpack
from shardpack.torch import StreamDataset

IMAGES = Path(__file__).parents[1] / "images"
EPOCHS, BATCH_SIZE = 4, 10


def train(folder: str, *, stop_after: int | None = None, checkpoint: dict | None = None) -> tuple[list[float], dict]:
    dataset = StreamDataset(folder, shuffle="blocks", seed=0, batch_size=BATCH_SIZE, decode="torchrgb", size=16)
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=2)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    losses: list[float] = []
    if checkpoint:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        dataset.load_state_dict(checkpoint["data"])
    for epoch in range(dataset.epoch, EPOCHS):
        dataset.set_epoch(epoch)
        for number, batch in enumerate(loader, start=1):
            loss = torch.nn.functional.cross_entropy(model(batch["jpg"]), batch["json"]["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == stop_after:
                data = dataset.state_after(number)
                return losses, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "data": data}
    return losses, {}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shardpack.pack(IMAGES, folder, max_shard_bytes="128KiB")
        whole, _ = train(folder)
        first, checkpoint = train(folder, stop_after=6)
        torch.save(checkpoint, Path(folder, "checkpoint.pt"))
        rest, _ = train(folder, checkpoint=torch.load(Path(folder, "checkpoint.pt")))
        print(f"stopped after {len(first)}, resumed:", *(f"{loss:.2f}" for loss in first + rest))
        print("the same losses:", first + rest == whole)


if __name__ == "__main__":
    main()
