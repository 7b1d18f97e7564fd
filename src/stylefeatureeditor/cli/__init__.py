"""The `sfe` command, one file per group of commands."""
