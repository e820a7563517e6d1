"""What several test files share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Threads cost more than they save on tables and networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
