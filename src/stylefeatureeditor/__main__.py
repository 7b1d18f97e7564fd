"""`python -m stylefeatureeditor` is `sfe`."""

from __future__ import annotations

import sys

from stylefeatureeditor.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
