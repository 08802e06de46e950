"""The entropy coder written from docs/BITSTREAM.md in plain Python: no numpy, no constriction.

A table is `(first_symbol, frequencies)`, the escape symbol's frequency last. A push is
`(symbols, tables)`, a pull `tables`: one table number per symbol, and a list of tables.
"""

MASK = 0xFFFFFFFF
ESCAPE_PREFIXES = [2 ** (23 - c) for c in range(1, 21) for _ in "+-"] + [8, 8]


class Stack:
    """Words and state of the ANS coder; `put` undoes `get`."""

    def __init__(self, data=b""):
        data += bytes(-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.state = 0
        for _ in range(min(2, len(self.words))):
            self.state = self.state << 32 | self.words.pop()

    def put(self, entry, frequencies):
        left, frequency = sum(frequencies[:entry]), frequencies[entry]
        if self.state >> 40 >= frequency:
            self.words.append(self.state & MASK)
            self.state >>= 32
        self.state = (self.state // frequency << 24) + left + self.state % frequency

    def get(self, frequencies):
        quantile = self.state & 0xFFFFFF
        entry = left = 0
        while left + frequencies[entry] <= quantile:
            left += frequencies[entry]
            entry += 1
        self.state = (self.state >> 24) * frequencies[entry] + quantile - left
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return entry

    def to_bytes(self):
        state = [self.state & MASK, self.state >> 32]
        return b"".join(w.to_bytes(4, "little") for w in self.words + state).rstrip(b"\0")

    def is_empty(self):
        return not self.words and not self.state


def uniform(num_values):
    return [(1 << 24) // num_values] * num_values


def sorted_positions(table_numbers):
    return sorted(range(len(table_numbers)), key=lambda i: table_numbers[i])


def decode(data, pulls):
    """Give the symbols of every pull; ValueError when data are left over."""
    stack = Stack(data)
    result = [decode_pull(stack, numbers, tables) for numbers, tables in pulls]
    if not stack.is_empty():
        raise ValueError("data left over")
    return result


def decode_pull(stack, numbers, tables):
    symbols, escaped = [0] * len(numbers), []
    for i in sorted_positions(numbers):
        first, frequencies = tables[numbers[i]]
        entry = stack.get(frequencies)
        symbols[i] = first + entry
        if entry == len(frequencies) - 1:
            escaped.append(i)
    prefixes = [stack.get(ESCAPE_PREFIXES) for _ in escaped]
    for i, prefix in zip(escaped, prefixes, strict=True):
        num_values = 2 ** (prefix // 2 + 1)
        distance = num_values + stack.get(uniform(num_values)) - 1
        first, frequencies = tables[numbers[i]]
        symbols[i] = first - distance if prefix % 2 else first + len(frequencies) - 2 + distance
    return symbols


def encode(pushes):
    """Give the bytes of pushes `(symbols, numbers, tables)`."""
    stack = Stack()
    for push in reversed(pushes):
        for entry, frequencies in reversed(entries_of(*push)):
            stack.put(entry, frequencies)
    return stack.to_bytes()


def entries_of(symbols, numbers, tables):
    entries, prefixes, mantissas = [], [], []
    for i in sorted_positions(numbers):
        first, frequencies = tables[numbers[i]]
        escape = len(frequencies) - 1
        entry = symbols[i] - first
        if not 0 <= entry < escape:
            distance = -entry if entry < 0 else entry - escape + 1
            num_values = 2 ** ((distance + 1).bit_length() - 1)
            size_class = num_values.bit_length() - 1
            prefixes.append((2 * (size_class - 1) + (entry < 0), ESCAPE_PREFIXES))
            mantissas.append((distance + 1 - num_values, uniform(num_values)))
            entry = escape
        entries.append((entry, frequencies))
    return entries + prefixes + mantissas
