"""Reports: what results say, as JSON, Markdown, HTML and figures; read from results only."""
