"""The paper's results again: what it proves and what it measures."""
