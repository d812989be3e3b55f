"""Collect the logits of images that leave a cascade at different exits."""

import numpy as np
import torch
from torch import Tensor


def read_staying(leaving: Tensor) -> np.ndarray:
    """Copy the indices of the remaining images to the host, the only synchronization of an exit.

    Args:
        leaving (Tensor): Whether each image leaves, bool (B, ).

    Returns:
        np.ndarray: Indices of the images that do not leave, int64, ascending.
    """
    return np.flatnonzero(~leaving.cpu().numpy())


def to_device(places: np.ndarray, device: torch.device) -> Tensor:
    """Copy indices to a device without synchronizing with it.

    Args:
        places (np.ndarray): Indices, int64 (n, ).
        device (torch.device): Target device.

    Returns:
        Tensor: Indices on the device, int64 (n, ).
    """
    return torch.from_numpy(places).to(device, non_blocking=True)


class Answers:
    """Logits of the exit that each image leaves at, collected while the cascade runs.

    The exit of each image is tracked on the host; the device gathers the logits once, or not
    at all if they all come from one exit.

    Args:
        size (int): Batch size.
    """

    def __init__(self, size: int) -> None:
        self.exits = np.zeros(size, dtype=np.int64)
        self._places: np.ndarray | None = None  # indices of the remaining images; None: all
        self._rows = np.arange(size)
        self._logits: list[Tensor] = []
        self._count = 0

    def add(self, exit_index: int, logits: Tensor) -> None:
        """Add the logits of an exit for the images that reached it.

        Args:
            exit_index (int): Exit that answered, starting at 0.
            logits (Tensor): (n, num_classes).
        """
        if self._places is None:  # no image has left yet, so earlier logits are obsolete
            self._logits, self._count = [logits], len(logits)
            self.exits[:] = exit_index
            return
        self._rows[self._places] = np.arange(self._count, self._count + len(logits))
        self.exits[self._places] = exit_index
        self._logits.append(logits)
        self._count += len(logits)

    def keep(self, staying: np.ndarray) -> None:
        """Continue with a subset of the remaining images.

        Args:
            staying (np.ndarray): Indices of the subset among the remaining images.
        """
        self._places = staying if self._places is None else self._places[staying]

    def logits(self) -> Tensor:
        """Gather the logits of the whole batch.

        Returns:
            Tensor: (B, num_classes), in the order of the images.
        """
        if len(self._logits) == 1:
            return self._logits[0]
        stacked = torch.cat(self._logits)
        return stacked.index_select(0, to_device(self._rows, stacked.device))
