"""What was said already, so that a description says nothing twice. Pure."""

from __future__ import annotations

from typing import Final

ABOVE: Final = "see above"
_SHORTEST: Final = 25
"""Characters of what counts as a sentence; fewer may be in two sentences by chance."""
_BETWEEN: Final = "; "


class Said:
    """Remembers the sentences of messages. Several conditions may have the same cause, and each tells it in full."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def unsaid(self, message: str) -> str:
        """What of a message is new; a reference in the place of what is not."""
        message = message.removeprefix("held: ")
        left: list[str] = []
        for sentence in message.split(_BETWEEN):
            new = self._without_old(sentence)
            if new != ABOVE or left[-1:] != [ABOVE]:
                left.append(new)
        self._sentences += [each for each in message.split(_BETWEEN) if len(each) >= _SHORTEST]
        return _BETWEEN.join(left)

    def _without_old(self, sentence: str) -> str:
        if any(sentence in old for old in self._sentences if len(sentence) >= _SHORTEST):
            return ABOVE
        for old in sorted(self._sentences, key=len, reverse=True):
            sentence = sentence.replace(old, ABOVE)
        return sentence
