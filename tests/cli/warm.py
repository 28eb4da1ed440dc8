"""Imported by the server that commands are forked from: what they would import and set up first, once for all."""

import typer._adapters
from pydantic import TypeAdapter
from rich.cells import cell_len

import segue.cli.acts
import segue.cli.checking
import segue.cli.collecting
import segue.cli.following
import segue.cli.listing
import segue.cli.models
import segue.cli.resuming
import segue.cli.showing
import segue.cli.starting
import segue.cli.telling
import segue.runtime.fan
import segue.runtime.inline
import segue.runtime.step
import segue.runtime.waits

READY = (TypeAdapter(int).validate_python("1"), cell_len("…"), segue, typer)
