"""What each process of a `torchrun` does: stream a share, step a model with the others, say what it saw.

ddp.py DATASET OUT PARTITIONS GLOBAL_BATCH STOPS [STATE]: once for each of STOPS, such as 0,3, stops after so many
batches (0: never) and writes OUT/STOP-RANK.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from shardpack.torch import StreamDataset


def collate(samples):
    return [sample["__key__"] for sample in samples]


def share(location, partitions, batch_size, stop, state=None, *, wait=lambda _: None):
    """Return the batches of this process, the length of its dataset, and the state after them.

    `wait` is called with the size of each batch, before the next one is taken.
    """
    dataset = StreamDataset(location, shuffle="blocks", batch_size=batch_size, partitions=partitions)
    dataset.set_epoch(2)
    if state is not None:
        dataset.load_state_dict(state)
    batches = []
    for batch in DataLoader(dataset, batch_size=batch_size, num_workers=2, collate_fn=collate):
        wait(len(batch))
        batches.append(batch)
        if len(batches) == stop:
            break
    return batches, len(dataset), dataset.state_after(len(batches))


def main(argv):
    location, out, partitions, global_batch, stops, *state = argv
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model = DistributedDataParallel(torch.nn.Linear(1, 1))

    def step(count):
        model(torch.tensor([[float(count)]])).sum().backward()  # waits for the other ranks

    at = json.loads(Path(*state).read_text()) if state else None
    for stop in map(int, stops.split(",")):
        said = share(location, int(partitions), int(global_batch) // world_size, stop, at, wait=step)
        Path(out, f"{stop}-{rank}.json").write_text(json.dumps(said))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
