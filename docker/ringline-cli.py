#!/opt/ringline/bin/python
"""The command ``ringline`` inside the image, where the package lies beside the environment instead of in it."""

from ringline.cli import app

app()
