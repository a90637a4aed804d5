"""Studies: many runs of some conditions, and tables and figures of what they scored."""
