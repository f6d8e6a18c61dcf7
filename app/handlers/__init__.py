"""What you do about an event: this folder is yours. One decorated function per event type; see policies.py."""
