"""Pure: events, keys, codec, commands, replay, lifecycle, faults, recovery. No I/O, no clock, no randomness."""
