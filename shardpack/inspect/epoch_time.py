"""How long an epoch takes, and what limits it: pure arithmetic.

Reading, decoding and training go on at the same time, so an epoch takes as long as the slowest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch over all images.

    Attributes:
        seconds: How long it takes.
        bottleneck: What it waits for: "disk", "network", "CPU" or "GPU".
    """

    seconds: float
    bottleneck: str


def epoch(seconds_per_image: Mapping[str, float], num_images: int) -> Epoch:
    """Return an epoch whose parts each take this many seconds per image; of equal ones the first is named."""
    bottleneck = max(seconds_per_image, key=seconds_per_image.__getitem__)
    return Epoch(seconds_per_image[bottleneck] * num_images, bottleneck)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What training runs on.

    Attributes:
        disk, network: Bytes per second.
        gpu_images: Images per second that the model takes; None: it is never what limits.
    """

    disk: float
    network: float
    gpu_images: float | None = None

    def epochs(self, bytes_per_image: float, decode_seconds: float, num_images: int) -> dict[str, Epoch]:
        """Return the epoch by where the data is: "disk", "bucket" or "memory".

        Args:
            bytes_per_image: Stored bytes, headers included.
            decode_seconds: Seconds per image with all cores at work.
            num_images: Images in the dataset.
        """
        computing = {"CPU": decode_seconds}
        if self.gpu_images is not None:
            computing["GPU"] = 1 / self.gpu_images
        return {
            "disk": epoch({"disk": bytes_per_image / self.disk, **computing}, num_images),
            "bucket": epoch({"network": bytes_per_image / self.network, **computing}, num_images),
            "memory": epoch(computing, num_images),
        }
