#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER while coverage is measured: the workspace is instrumented, its dependencies are not.
exec "$@" -C instrument-coverage
