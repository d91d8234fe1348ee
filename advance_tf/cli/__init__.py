"""The command line: `advance COMMAND`, one module for each command."""
