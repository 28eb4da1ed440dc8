"""Recall: which of many passages a request is about. numpy alone: no weights, no downloads, no model is called."""
