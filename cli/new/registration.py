"""Registration: adds a name to a list in a source file, and leaves the rest of the file as it is."""

import ast

from domain.errors import ConfigurationError


def with_import(source: str, line: str, file: str) -> str:
    """Add an import after the last one of a module.

    Raises:
        ConfigurationError: The module imports nothing.
    """
    imports = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    if not imports:
        raise ConfigurationError(f"{file}: there are no imports to add to: {line}")
    lines = source.splitlines()
    lines.insert(imports[-1].end_lineno or 0, line)
    return "\n".join(lines) + "\n"


def with_member(source: str, collection: str, member: str, file: str) -> str:
    """Add a member to the end of a module's tuple, list or dict.

    Args:
        source: The module's.
        collection: What it is assigned to.
        member: Its source; of a dict `key: value`.
        file: Named in the error.

    Raises:
        ConfigurationError: There is no such collection, or nothing in it.
    """
    for node in ast.parse(source).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if not any(isinstance(target, ast.Name) and target.id == collection for target in targets):
            continue
        value = node.value  # type: ignore[attr-defined]
        last = value.values if isinstance(value, ast.Dict) else getattr(value, "elts", [])
        if last:
            return _inserted(source, last[-1], value, member)
    raise ConfigurationError(f"{file}: there is no list {collection} to add to: {member}")


def _assigned(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _inserted(source: str, last: ast.expr, collection: ast.expr, member: str) -> str:
    lines = source.splitlines()
    closing = (collection.end_lineno or 0) - 1
    # The list may be longer than a line now: the formatter decides about it.
    lines[closing] = lines[closing].removesuffix("# fmt: skip").rstrip()
    row = (last.end_lineno or 0) - 1
    line = lines[row].encode()
    lines[row] = (line[: last.end_col_offset] + f", {member}".encode() + line[last.end_col_offset :]).decode()
    return "\n".join(lines) + "\n"
