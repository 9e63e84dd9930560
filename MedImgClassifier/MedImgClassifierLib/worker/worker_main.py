"""The worker process: the program that a face starts, `python worker_main.py FOLDER`, FOLDER being private to both.

It owns every inference library, so that none enters the face's process. Messages come on stdin and go out on what was
stdout; what libraries print goes to stderr. The end of stdin ends it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # before anything is imported: native libraries print on 1
    here = Path(__file__).resolve()
    sys.path[:] = [str(here.parents[2]), *(place for place in sys.path if Path(place or ".").resolve() != here.parent)]
    from MedImgClassifierLib.worker.service import Service

    Service(sys.stdin.buffer, messages, Path(sys.argv[1])).run()


if __name__ == "__main__":
    main()
