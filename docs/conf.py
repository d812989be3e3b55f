"""Settings of Sphinx; ``tools/misc/build_docs.sh`` makes the pages first and then calls it."""

import warnings

import smallvit

warnings.filterwarnings("ignore")

project = "smallvit"
author = copyright = "the smallvit contributors"
version = release = smallvit.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"smallvit {release}"
html_static_path = ["_static"]
html_extra_path = ["_build/extra"]
html_css_files = ["smallvit.css"]
html_js_files = ["zoo.js"]
html_show_sourcelink = html_copy_source = False
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# READMEs begin sections where their readers need them; HTML comments mark what tools fill in.
suppress_warnings = ["myst.header"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
