"""Pages: sections, tables and figures (``content``) to HTML and Markdown, with one template."""
