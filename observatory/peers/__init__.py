"""The same work by the engines that a user would pick instead: `python -m observatory.peers [ENGINE ...]`."""
