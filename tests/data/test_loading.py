"""What goes wrong in a process that reads pictures arrives as one sentence."""

import os
import signal

import pytest
from torch.utils.data import DataLoader

from shufflenet.data import BrokenPictureError, batches
from shufflenet.errors import UserError


class Failing:
    """A data set whose items raise, or die, on purpose."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.fail() if index == 2 else index


def raising(error):
    def fail():
        raise error

    return fail


def read(fail, workers=1):
    return list(batches(DataLoader(Failing(fail), num_workers=workers)))


def test_batches_are_the_loaders():
    assert [batch.item() for batch in read(lambda: 2)] == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [UserError, BrokenPictureError])
def test_a_sentence_stays_a_sentence(kind, workers):
    with pytest.raises(kind, match=r"^street\.jpg: is 3×4 and not 4×3; turn it$"):
        read(raising(kind("street.jpg: is 3×4 and not 4×3; turn it")), workers)


def test_any_other_error_is_told_by_its_kind_and_words():
    with pytest.raises(UserError, match=r"^reading a picture failed: MemoryError: 7 GB$"):
        read(raising(MemoryError("7 GB")))


@pytest.mark.parametrize(
    "words",
    [
        "unable to write to file </torch_12_34>: No space left on device (28)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.",
    ],
)
def test_full_shared_memory_says_what_to_type(words):
    with pytest.raises(UserError, match=r"/dev/shm has.*--shm-size=2g.*workers=0") as raised:
        read(raising(RuntimeError(words)))
    assert "\n" not in str(raised.value)


# torch raises in a signal's handler; where that meets a callback of the collector's, Python only reports it, and torch asks again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_process_is_told():
    with pytest.raises(
        UserError, match=r"ended on its own, mostly for want of memory .*read with fewer than 1"
    ) as raised:
        read(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert "\n" not in str(raised.value)


def test_what_is_no_workers_passes():
    with pytest.raises(RuntimeError, match=r"^mine$"):
        read(raising(RuntimeError("mine")), workers=0)
