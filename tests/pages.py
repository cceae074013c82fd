"""Pages as tests read them."""

from html.parser import HTMLParser


class Parsed(HTMLParser):
    """Elements of a page, its text, and whether every one is closed that is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.inside: list[str] = []
        self.feed(text)
        assert self.inside == [], self.inside

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "link", "img", "input", "br"):
            self.inside.append(name)

    def handle_endtag(self, name):
        assert self.inside.pop() == name

    def handle_data(self, data):
        if self.inside[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def all(self, name: str, **expected: str) -> list[dict]:
        return [a for n, a in self.elements if n == name and expected.items() <= a.items()]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())  # thin spaces become plain ones

    def shows(self, figure: str) -> bool:
        return figure.replace("\u202f", " ") in self.text
