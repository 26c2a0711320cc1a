"""Another Python on this machine, with another numpy: to see whether it reads what we write."""

import os
import shutil
import subprocess


def python_with_numpy(major: str) -> str | None:
    """The first Python on the path whose numpy is of that major version; None where there is none."""
    names = ("python3", "python3.11", "python3.12", "python3.13")
    for program in [f"{folder}/{name}" for folder in os.get_exec_path() for name in names]:
        if shutil.which(program):
            command = [program, "-c", "import numpy; print(numpy.__version__.split('.')[0])"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.stdout.strip() == major:
                return program
    return None
