#!/bin/sh
# `make setup` installs this as .venv/bin/aunet: `python -m jobs` of this checkout, from any folder.
bin=$(dirname "$(readlink -f "$0")")
PYTHONPATH=${bin%/.venv/bin}${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
exec "$bin/python" -P -c 'import sys; from jobs.__main__ import start; sys.exit(start("aunet"))' "$@"
