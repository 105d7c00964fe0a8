"""Pages for people: one self-contained HTML file each, no network, charts as SVG."""
