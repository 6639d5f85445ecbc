"""What each process of a `torchrun` does: stream a share, step a model with the others, say what it saw.

ddp.py DATASET OUT PARTITIONS GLOBAL_BATCH STOP [STATE]: stops after STOP batches (0: never), writes OUT/RANK.json.
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


def main(argv):
    location, out, partitions, global_batch, stop, *state = argv
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    batch_size = int(global_batch) // world_size
    dataset = StreamDataset(location, shuffle="blocks", batch_size=batch_size, partitions=int(partitions))
    dataset.set_epoch(2)
    if state:
        dataset.load_state_dict(json.loads(Path(*state).read_text()))
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    batches = []
    for batch in DataLoader(dataset, batch_size=batch_size, num_workers=2, collate_fn=collate):
        model(torch.tensor([[float(len(batch))]])).sum().backward()  # waits for the other ranks
        batches.append(batch)
        if len(batches) == int(stop):
            break
    Path(out, f"{rank}.json").write_text(json.dumps([batches, len(dataset), dataset.state_after(len(batches))]))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
