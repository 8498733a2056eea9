"""How steps follow each other: fixed, adaptive, with a clock for each sample, compiled. Chapter 3 derives the loops."""
