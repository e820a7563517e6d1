"""Which signs of names the fonts of this machine can draw."""

from __future__ import annotations

from matplotlib import font_manager

# Fonts that hold what matplotlib's own lacks, most of all Chinese, Japanese and Korean; those that
# a machine has are asked after it.
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Emoji",
    "Symbola",
)


def without_glyph(text: str) -> str:
    """The signs of a text that no font of this machine draws: a figure shows a box for each."""
    fonts = [
        font_manager.get_font(font_manager.findfont(name))
        for name in ("DejaVu Sans", *installed_fonts())
    ]
    return "".join(
        dict.fromkeys(
            sign
            for sign in text
            if not sign.isspace() and not any(font.get_char_index(ord(sign)) for font in fonts)
        )
    )


def installed_fonts() -> list[str]:
    there = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in there]
