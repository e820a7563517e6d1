"""Texts that can be written down: what no encoding holds is replaced, alike in tables and when
serving.
"""

from __future__ import annotations


def whole(text: str) -> str:
    """The text with every half of a sign (a lone surrogate, such as half an emoji) replaced by
    U+FFFD; two halves that belong together are joined.

    Tools that cut texts by length leave such halves. They cannot be written as UTF-8, and
    tokenizers refuse them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
