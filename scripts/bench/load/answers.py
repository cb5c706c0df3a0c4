"""Reads answers off a connection and judges each: 200, and a body of the expected length.

It counts and forgets; it must never let an answer pass that it has not seen the end of.
"""

from __future__ import annotations

import httptools

from scripts.bench.errors import LoadError


class AnswerReader:
    """Counts complete, expected answers of one connection.

    feed(bytes) may be given any split. Errors: LoadError for another status, another length, or bytes
    that are no HTTP.
    """

    __slots__ = ("_body", "_expected", "_parser", "complete", "wrong")

    def __init__(self, expected_body: int) -> None:
        self.complete = 0
        self.wrong = ""
        self._body = 0
        self._expected = expected_body
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise LoadError(self.wrong or "an answer was no HTTP") from error
        if self.wrong:
            raise LoadError(self.wrong)

    def on_body(self, piece: bytes) -> None:
        """Count the body."""
        self._body += len(piece)

    def on_message_complete(self) -> None:
        """Judge; nothing is raised here, since an exception would not leave the parser as itself."""
        status = self._parser.get_status_code()
        if status != 200:
            self.wrong = self.wrong or f"answer {self.complete + 1} had status {status}"
        elif self._body != self._expected:
            self.wrong = self.wrong or f"answer {self.complete + 1} had {self._body} bytes"
        self._body = 0
        self.complete += 1
