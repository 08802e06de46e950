"""Print how many vectors must verify, tier by tier.

Usage: python conformance/count.py
"""

import tomllib
from pathlib import Path

TIERS = {
    "containers.toml": "A containers",
    "coder.toml": "B coder",
    "vectors.toml": "C system",
}


def main() -> None:
    total = 0
    for name, tier in TIERS.items():
        path = Path(__file__).with_name(name)
        if not path.exists():
            raise SystemExit(f"{path} is missing: its vectors must verify")
        content = tomllib.loads(path.read_text())
        kinds = {kind: len(rows) for kind, rows in content.items() if isinstance(rows, list)}
        total += sum(kinds.values())
        print(f"tier {tier}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    print(f"{total} vectors must verify")


if __name__ == "__main__":
    main()
