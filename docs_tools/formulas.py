r"""Hook of the site: formulas become MathML when the site is built, so that no page needs a script for them.

They are written as `$...$` and `$$...$$`, which GitHub shows as well. Arithmatex finds them and leaves
`\(...\)` and `\[...\]` in elements of the class `arithmatex`; these are replaced here.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the formulas of a page."""
    return with_mathml(content)


def with_mathml(content: str) -> str:
    r"""Return a page with its formulas as MathML.

    Raises:
        ValueError: a formula holds a command that is not known, which would be shown as text.

    Example:
        >>> print(with_mathml('<span class="arithmatex">\\(x\\)</span>'))
        <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><mi>x</mi></mrow></math>
    """

    def formula(match: re.Match[str]) -> str:
        tag, bracket, latex = match.groups()
        display = "inline" if bracket == "(" else "block"
        mathml = convert(html.unescape(latex).strip(), display=display)
        unknown = re.search(r"\\[A-Za-z]+", re.sub(r"&#x0*5C;", r"\\", mathml))
        if unknown is not None:
            raise ValueError(f"the formula {latex.strip()!r} holds {unknown[0]}, which is no command that is known")
        return mathml if tag == "span" else f'<div class="formula" tabindex="0">{mathml}</div>'

    return _FORMULA.sub(formula, content)
