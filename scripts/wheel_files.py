"""Fail unless the wheel holds exactly the files of the source tree.

python scripts/wheel_files.py WHEEL PACKAGE
"""

import sys
import zipfile
from pathlib import Path


def main(wheel: str, package: str) -> int:
    """Compare, print what differs, and return the exit code."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tree = {
        str(path)
        for path in Path(package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    for name in sorted(packed ^ tree):
        print(f"{'only in the wheel' if name in packed else 'not in the wheel'}: {name}")
    return int(packed != tree)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
