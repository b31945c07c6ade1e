"""Values and tables as TOML writes them."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any


def value_of(text: str) -> Any:
    """A value as TOML writes it, a list without brackets, or else the text itself."""
    for form in (text, f"[{text}]" if "," in text else text):
        try:
            return tomllib.loads(f"value = {form}")["value"]
        except (ValueError, RecursionError):
            continue
    return text


def written(data: Mapping[str, Any], above: str = "") -> str:
    """Plain data as TOML: values first, then tables."""
    lines = [f"{_word(key)} = {_value(value)}" for key, value in data.items() if not isinstance(value, Mapping)]
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{above}{_word(key)}]", written(value, f"{above}{_word(key)}.").strip("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def _word(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
