"""Become a program that dies with its parent, as another user if need be. Run by path: it knows nothing of the rest.

A launcher instead of `preexec_fn`, because code between fork and exec is not safe in a process with threads.

    python launch.py PARENT_PID SIGNAL UID:GID|- PROGRAM [ARGUMENT …]
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, orphan_signal: int, owner: str, argv: list[str]) -> None:
    """Replace this process by the program."""
    if owner != "-":
        uid, gid = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user: the kernel forgets the wish when credentials change.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execv(argv[0], argv)  # noqa: S606  (the point of this file)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
