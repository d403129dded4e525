"""Called by mkdocs: links to files outside of docs/ lead to the repository."""

import re


def on_page_markdown(markdown, page, config, files):
    """The text of a page, its links ``../FILE`` made absolute."""
    return re.sub(r"\]\(\.\./(?!\.)", f"]({config.repo_url}/blob/main/", markdown)
