"""What `torchrun` tells the processes that it starts; knows it without PyTorch."""

import os

_TOLD = {"RANK", "WORLD_SIZE", "LOCAL_RANK"}


def n_processes() -> int:
    """Processes that were started together with this one, itself counted; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if os.environ.keys() >= _TOLD else 1


def rank() -> int:
    """Number of this process among all of them; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this process among those of its machine; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))
