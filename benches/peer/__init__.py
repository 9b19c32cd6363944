"""A single-purpose consumer, as one would write it in Python: what `vigie run` is measured against."""
