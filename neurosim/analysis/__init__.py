"""Analysis of runs: recorded files in, arrays and numbers out."""
