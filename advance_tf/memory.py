"""glibc's memory policy for input pipelines with large temporaries.

By default glibc returns a freed block of more than a few hundred kilobytes to the
kernel, and the next one is mapped and zeroed again. The temporaries of one clip's
log-mel are 13 MB, and on some machines a tf.data pipeline spends much of its time in
the kernel. With one arena, no mapped blocks and no trimming the freed memory stays in
the process and is used again.
"""

import ctypes
import os
import platform

# The setting that leaves the policy alone.
VARIABLE = "ADVANCE_TF_KEEP_MEMORY"
# Parameters of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1
# The same policy for a process that Python does not start, such as TF Serving.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(_LARGEST),
}


def keep_freed_memory() -> bool:
    """Configures glibc to keep freed memory in the process.

    Call it before TensorFlow starts its threads, at the top of a script or notebook;
    the commands do. The resident memory stays at its peak instead of falling after
    each clip. Values of `ENVIRONMENT` that are already set keep precedence.

    Returns:
        Whether the policy is set: on Linux with glibc, unless the environment
        variable ADVANCE_TF_KEEP_MEMORY is 0; elsewhere nothing is changed.

    >>> import os
    >>> os.environ["ADVANCE_TF_KEEP_MEMORY"] = "0"
    >>> keep_freed_memory()
    False
    >>> del os.environ["ADVANCE_TF_KEEP_MEMORY"]
    """
    if os.environ.get(VARIABLE) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    values = {
        "MALLOC_ARENA_MAX": (_M_ARENA_MAX, 1),
        "MALLOC_MMAP_MAX_": (_M_MMAP_MAX, 0),
        "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, _LARGEST),
    }
    return all(
        mallopt(parameter, value) == 1
        for name, (parameter, value) in values.items()
        if name not in os.environ
    )
