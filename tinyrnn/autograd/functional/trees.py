"""Structures of tensors: a Tensor or array, a list, tuple or dict of structures, None, or an object with
``named_parameters()`` (a Module), which counts as a dict by parameter name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..types import Tree


def tree_leaves(tree: Tree) -> list[Any]:
    """Tensors and arrays of a structure, in order."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree)
    return leaves


def tree_map(f: Callable[[Any], Any], tree: Tree, modules: Any = dict) -> Tree:
    """``f`` of every leaf, in the structure of ``tree``; ``modules`` None leaves modules as they are."""
    if hasattr(tree, "named_parameters"):
        return tree_map(f, modules(tree.named_parameters())) if modules else tree
    if tree is None:
        return None
    if isinstance(tree, dict):
        mapped = {k: tree_map(f, v, modules) for k, v in tree.items()}
        if type(tree) is dict:
            return mapped
        made = copy.copy(tree)  # OrderedDict, defaultdict and the like stay what they are
        made.update(mapped)
        return made
    if isinstance(tree, list | tuple):
        values = [tree_map(f, v, modules) for v in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return f(tree)
