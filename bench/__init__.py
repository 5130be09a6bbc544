"""Measurements of what people wait for, each beside the least that the kernel lets anybody do it in."""
