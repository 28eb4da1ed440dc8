"""Measurements of Segue beside the floor: what SQLite alone does on the same disk in the same seconds.

`python -m bench [NAMES] [--quick] [--full] [--json] [--profile]`
"""
