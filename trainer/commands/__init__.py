"""The commands of `trainer`, each one library call; `trainer.cli` makes one program of them.

At the top of these modules stands nothing heavy: what a command needs, it imports when it runs.
"""
