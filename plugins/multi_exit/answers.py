"""The answers of a cascade whose images leave at different exits, put together at its end."""

import numpy as np
import torch
from torch import Tensor


def read_staying(leaving: Tensor) -> np.ndarray:
    """Read back which images go on: the one time that the host waits for an exit.

    Args:
        leaving (Tensor): Whether an image leaves, bool (B, ).

    Returns:
        np.ndarray: The places of the others, int64, ascending.
    """
    return np.flatnonzero(~leaving.cpu().numpy())


def to_device(places: np.ndarray, device: torch.device) -> Tensor:
    """Copy places to a device without waiting for what it computes.

    Args:
        places (np.ndarray): int64 (n, ).
        device (torch.device): Where to.

    Returns:
        Tensor: The same there.
    """
    return torch.from_numpy(places).to(device, non_blocking=True)


class Answers:
    """Logits of each image's last exit, collected while images leave.

    Which image left where is known to the host; the device puts the logits together once, and
    not at all where they all come from one exit.

    Args:
        size (int): Images of the batch.
    """

    def __init__(self, size: int) -> None:
        self.exits = np.zeros(size, dtype=np.int64)
        self._places: np.ndarray | None = None  # of those that are still here; None: all
        self._rows = np.arange(size)
        self._logits: list[Tensor] = []
        self._count = 0

    def add(self, exit_index: int, logits: Tensor) -> None:
        """Take what an exit says of the images that reached it.

        Args:
            exit_index (int): The exit.
            logits (Tensor): (n, num_classes).
        """
        if self._places is None:  # earlier ones are of no image's last exit
            self._logits, self._count = [logits], len(logits)
            self.exits[:] = exit_index
            return
        self._rows[self._places] = np.arange(self._count, self._count + len(logits))
        self.exits[self._places] = exit_index
        self._logits.append(logits)
        self._count += len(logits)

    def keep(self, staying: np.ndarray) -> None:
        """Go on with some of the images that are still here.

        Args:
            staying (np.ndarray): Their places among those.
        """
        self._places = staying if self._places is None else self._places[staying]

    def logits(self) -> Tensor:
        """Put the logits together.

        Returns:
            Tensor: (B, num_classes), in the order of the images.
        """
        if len(self._logits) == 1:
            return self._logits[0]
        stacked = torch.cat(self._logits)
        return stacked.index_select(0, to_device(self._rows, stacked.device))
