"""The audit as JSON and as Markdown."""
