"""Tables in documents: written by the benchmarks, never by hand."""

import re
from pathlib import Path

_MARK = r"<!-- table: {name} -->\n.*?<!-- end of table -->"


def replace_table(path: Path, name: str, content: str) -> None:
    """Replace what stands between `<!-- table: NAME -->` and `<!-- end of table -->` in a document.

    Raises:
        ValueError: there is not exactly one such table.
    """
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(_MARK.format(name=re.escape(name)), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(
            f"{path}: expected one table named {name!r} between <!-- table: {name} --> and <!-- end of table -->"
        )
    path.write_text(
        pattern.sub(lambda _: f"<!-- table: {name} -->\n\n{content.strip()}\n\n<!-- end of table -->", text),
        encoding="utf-8",
    )
