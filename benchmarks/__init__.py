"""Timings and quality beside real peers; each writes a JSON file that names the hardware."""
