"""Pages: sections, tables and figures to HTML and Markdown."""
