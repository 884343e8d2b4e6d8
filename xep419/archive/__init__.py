"""Batch re-encryption of archives: formats and databases on one side, engines on the other.

Needs the extra ``xep419[archive]``.
"""
