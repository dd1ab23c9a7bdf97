"""Known truths: numbers that are published or follow in closed form, and the tool's own functions that must give them.

``probe verify`` runs them all. ``truths.py`` holds the table; to add a truth, add an entry there.
"""
