"""Lists in words, for messages and documentation."""

from __future__ import annotations


def in_words(numbers: list[int]) -> str:
    """Numbers separated by commas; five or more at equal distances become `first to last by distance`."""
    words, start = [], 0
    while start < len(numbers):
        end = start + 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == numbers[start + 1] - numbers[start]:
            end += 1
        if end - start >= 5:
            words.append(f"{numbers[start]} to {numbers[end - 1]} by {numbers[start + 1] - numbers[start]}")
        else:
            words.append(str(numbers[start]))
            end = start + 1
        start = end
    return ", ".join(words)
