#!/opt/ringline/bin/python
"""The command ``ringline`` inside the image, where the package lies beside the environment instead of in it."""

import gc
import sys

# what is imported stays: to look for garbage among it meanwhile takes a fifth of the time
gc.disable()
if sys.argv[1:2] == ["serve"] and (len(sys.argv) == 2 or (sys.argv[2] == "--role" and len(sys.argv) == 4)):
    from functools import partial

    from ringline.serving import serve

    run = partial(serve, *sys.argv[3:])
else:
    from ringline.cli import app as run

    gc.enable()
run()
