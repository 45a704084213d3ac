#!/bin/sh
# A wrapper of rustc for `RUSTC_WORKSPACE_WRAPPER`: instruments the project's own crates alone.
exec "$@" -C instrument-coverage
