"""A page as a test reads it."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Refuses what does not nest; notes tags, ids, headings and text."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.ids, self.headings, self.words = [], [], [], [], []
        self.feed(text)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.headings += [int(tag[1])] if re.fullmatch(r"h[1-6]", tag) else []
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in {"meta", "link", "br", "img"}:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))
