"""How many threads torch and the linear algebra under numpy and scipy use while fitting."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps numpy's and scipy's linear algebra to this thread, for long loops over matrices of a hundred rows.

    Measured on two shared cores with another program running: a second thread makes the smoother 20 to 60 times slower.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
