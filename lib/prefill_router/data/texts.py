"""Texts that can be written down, and prompts in one form: alike in tables and when serving."""

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


def tidy(text: str) -> str:
    """A prompt in the form in which a table's prompts are trained: no half signs (`whole`), lines
    that end in LF, no space around it.

    A router that was trained on such prompts alone reads every prompt so: a line end after it would
    move P(correct) by some hundredths and make it look unlike the training.
    """
    return whole(text).replace("\r\n", "\n").replace("\r", "\n").strip()
