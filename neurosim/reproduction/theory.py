from pathlib import Path


def write(results: Path, quick: bool) -> list[Path]:
    return []
