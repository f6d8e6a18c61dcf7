"""The contract of this receiver, as an OpenAPI 3.1 document: what may be sent to it, and what it answers.

document.py puts it together. sources.py says how each part is marked: published, configured or observed.
"""
