"""Drawings for print and for reports."""
