"""The report as one HTML file that needs no network. Writing it imports Jinja2, making the gallery torch."""

from bench.page.build import page_html, write_page
from bench.page.gallery_picture import Gallery, Picture, Strip
from bench.page.part import Part

__all__ = ["Gallery", "Part", "Picture", "Strip", "page_html", "write_page"]
