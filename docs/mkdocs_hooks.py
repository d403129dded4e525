"""Called by mkdocs: links to files outside of docs/ lead to the repository."""

import re


def on_page_markdown(markdown, page, config, files):
    """The text of a page, its links ``../FILE`` made absolute."""
    above = re.escape("../" * (page.file.src_uri.count("/") + 1))
    return re.sub(rf"\]\({above}(?!\.)", f"]({config.repo_url}/blob/main/", markdown)
