"""The engine: flows, steps, waits, children on the near side; runs carried out on the far side, behind one seam."""
