"""Settings of Sphinx for the article; `make site` copies them beside the pages that it writes."""

project = "prefill-router"
html_title = "Routing by prefill activations"
# githubpages adds a file without which GitHub leaves folders out whose names begin with _
extensions = ["myst_nb", "sphinx.ext.githubpages"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
templates_path = []
exclude_patterns = ["_extra", "_static"]
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4
# notebooks come executed; widgets would fetch scripts from the network
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
# pages open from disk, where a browser refuses to read other pages for a summary
html_show_search_summary = False
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
smartquotes = False
# a notebook's or a document's first heading may lie below another level
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00588a", "color-brand-content": "#00588a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f5", "color-brand-content": "#7cc4f5"},
}
