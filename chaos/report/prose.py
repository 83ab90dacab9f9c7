"""Markdown of runbooks as HTML that can do nothing: no raw HTML, no images, no links that leave the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from chaos.report.plain import printable


class _Still(RendererHTML):
    """Writes a link as its text: a relative one would be wrong here, and others leave the page."""

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "<span>"

    def link_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</span>"

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return self.code_block(tokens, idx, options, env)


_MARKDOWN: Final = (
    MarkdownIt("commonmark", {"html": False}, renderer_cls=_Still)
    .enable("table")
    .disable(["image", "html_block", "html_inline"])
)


def to_html(markdown: str) -> Markup:
    """`markdown` as safe HTML."""
    # markdown-it escapes all text, and with raw HTML off it writes only its own tags.
    return Markup(_MARKDOWN.render(printable(markdown)))  # noqa: S704


def to_text(line: str) -> str:
    """One line of Markdown without the marks of emphasis and code: for terminals."""
    tokens = _MARKDOWN.parseInline(printable(line))
    children = tokens[0].children or [] if tokens else []
    return "".join("\n" if t.type in ("softbreak", "hardbreak") else t.content for t in children)
