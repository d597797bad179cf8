"""Channels of one run: by what names they are known, who waits in them, and whether anybody waits in vain."""
