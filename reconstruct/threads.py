"""How many threads torch uses while fitting."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to this thread: its arrays are short here, and on a busy machine a second thread is waited for.

    Measured on two shared cores: up to 16 ms of waiting for each operation on more than 32 768 numbers.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
