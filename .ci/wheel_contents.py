"""Check what is in the wheels: all that the library reads, nothing of the repository, and the same from both sources.

Usage: python .ci/wheel_contents.py WHEEL_OF_THE_SDIST WHEEL_OF_THE_REPOSITORY
"""

import subprocess
import sys
from zipfile import ZipFile


def contents(path: str) -> dict[str, int]:
    """Return the checksum of each file in a wheel, without what names the wheel itself."""
    with ZipFile(path) as wheel:
        return {entry.filename: entry.CRC for entry in wheel.infolist() if not entry.filename.endswith("/RECORD")}


def main() -> None:
    """Compare both wheels with each other and with what git tracks."""
    from_sdist, from_repository = map(contents, sys.argv[1:3])
    different = {name for name, _ in from_sdist.items() ^ from_repository.items()}
    if different:
        sys.exit(f"the wheel of the sdist is another one than that of the repository: {sorted(different)}")
    tracked = subprocess.run(["git", "ls-files", "lane_hf"], capture_output=True, text=True, check=True).stdout.split()
    lacking = set(tracked) - from_sdist.keys()
    if lacking:
        sys.exit(f"the wheel lacks {sorted(lacking)}")
    foreign = {name for name in from_sdist if ".dist-info/" not in name} - set(tracked)
    if foreign:
        sys.exit(f"the wheel holds {sorted(foreign)}, which are no files of the library")
    licences = {name.partition("/licenses/")[2] for name in from_sdist}
    wanted = {"LICENSE", *(name for name in tracked if name.endswith("LICENSE.txt"))}
    if not wanted <= licences:
        sys.exit(f"the wheel's metadata lack the licences {sorted(wanted - licences)}")


if __name__ == "__main__":
    main()
