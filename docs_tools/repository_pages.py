"""Hook of the site: pages that lie outside `docs/`, and links that lead there.

README, CONTRIBUTING and the like stand where readers of the repository look for them. The site shows the same files,
so that nothing is written twice. Links are written for the repository; here they are turned into links within the
site. A link to a file that is no page (a licence, a source file) becomes plain text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
}
"""Files of the repository by their path, and where the site has them."""

_SOURCES = {page: source for source, page in PAGES.items()}
# Code is no link, but the text of a link may be code: what comes first, counts.
_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|(!?)\[((?:[^\[\]]|`[^`]*`)*)\]\(([^()#\s]+)(#[^()\s]*)?\)|`[^`\n]+`", re.MULTILINE | re.DOTALL
)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie outside `docs/`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Turn the links of a page into links within the site."""
    return site_links(markdown, page.file.src_uri, set(files.src_uris))


def site_links(markdown: str, page: str, known: set[str]) -> str:
    """Return a page whose links to files of the repository lead to pages of the site, or are plain text.

    Args:
        markdown: the page as it stands in the repository.
        page: where the site has it.
        known: all files of the site.

    Example:
        >>> site_links("see [one](docs/one.md#top), [the licence](LICENSE)", "index.md", {"one.md"})
        'see [one](one.md#top), the licence'
    """
    source = _SOURCES.get(page, f"docs/{page}")

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if target is None or "://" in target or target.startswith("mailto:"):
            return match[0]
        in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        in_site = PAGES.get(in_repository, in_repository.removeprefix("docs/"))
        is_page = in_repository in PAGES or in_repository.startswith("docs/")
        # A link to a page that does not exist is left for mkdocs to find; what is no page has no link.
        if not is_page and (ROOT / in_repository).exists():
            return text
        relative = posixpath.relpath(in_site, posixpath.dirname(page) or ".") if in_site in known else target
        return f"{image}[{text}]({relative}{anchor or ''})"

    return _CODE_OR_LINK.sub(link, markdown)
