"""Settings of Sphinx; `make docs` builds with them."""

project = "colonywatch"
copyright = "the colonywatch authors, BSD-3-Clause"
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["accuracy.json"]
html_theme = "furo"
html_title = "colonywatch"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_permalinks_icon = "#"
pygments_style = "default"
# What the pages of `colonywatch serve` allow: nothing from elsewhere.
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#0f5f6b", "color-brand-content": "#0f5f6b"},
    "dark_css_variables": {"color-brand-primary": "#5cc3d1", "color-brand-content": "#5cc3d1"},
}
