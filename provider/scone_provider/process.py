"""A process and its memory: what a crash leaves behind, and who may look into it."""

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def keep_memory() -> None:
    """No core dump of this process or its children, and no other process of the same user may trace or read it.

    To be called before there is a key. The second half ends with an exec, the first does not; root may do both.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
