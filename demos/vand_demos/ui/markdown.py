"""Text from outside in viser's Markdown, which would run HTML that is in it."""

import re

_NOT_PLAIN = re.compile(r"[^\w ]", re.ASCII)


def plain(text: str) -> str:
    """The text so that Markdown shows it as it is: no markup, no HTML, one line.

    Every character but letters, digits and spaces becomes a character reference, which is text
    whatever stands around it.
    """
    one_line = " ".join(text.split())
    return _NOT_PLAIN.sub(lambda found: f"&#{ord(found[0])};", one_line)
