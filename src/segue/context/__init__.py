"""What a model sees: a context of parts, fitted to the chosen model's window, with a manifest of what became of it."""
