"""The report as one self-contained HTML file: its data, its pictures, and the page that shows them."""
