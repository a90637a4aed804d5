"""Figures, one file each; they are drawn from recorded runs."""
